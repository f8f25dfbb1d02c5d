import upstreamFiles from "#upstreams";
import * as z from "zod/mini";
import type { EncryptionKey } from "../crypto/encryption.ts";
import { ONLY_PEPPER_ID, type Peppers } from "../crypto/pepper.ts";
import { logWarning } from "../log/warning-log.ts";
import { explainIssue } from "../validation/explain-issue.ts";
import { jsonFault } from "../validation/json-fault.ts";
import { nearestName } from "../validation/nearest-name.ts";
import type { SecretPart } from "../policy/service-definition.ts";
import { loadServices, secretName, type Service } from "../policy/services.ts";
import { trustedIssuers, type TrustedIssuer } from "./trusted-issuers.ts";
import { describeFault, upstreamSettings } from "./upstream-settings.ts";
import { isLoopbackUrl } from "../validation/loopback.ts";
import { BUILT_IN_CATALOGUE, type Catalogue } from "../permissions/catalogue.ts";
import { wholeNumber } from "../validation/whole-number.ts";
import { once } from "../validation/once.ts";

/** A private signing key (ES256) in the JWK Set `SIGNING_KEYS` (RFC 7517 §5, RFC 7518 §6.2). */
export interface SigningKey {
  kty: "EC";
  crv: "P-256";
  kid: string;
  x: string;
  y: string;
  d: string;
}

/** The settings of one deployment, checked and frozen. Times are seconds unless a name says otherwise. */
export interface Config {
  /** Whether only this machine is served: hosts and origins other than loopback are refused. */
  readonly development: boolean;
  /** The public origin, the `iss` of every token. Null in local development, where it is the origin of the request. */
  readonly issuer: string | null;
  readonly audience: string | null;
  readonly registration: "open" | "approval" | "admin";
  readonly accessTokenTtl: number;
  readonly refreshTokenTtl: number;
  readonly refreshFamilyTtl: number;
  readonly refreshGrace: number;
  readonly standingTtl: number;
  /** How long the body of a request may take to arrive, in milliseconds. */
  readonly bodyTimeoutMs: number;
  readonly activityRetentionDays: number;
  /** How many days records of the audit log are kept, the archive included. Null: without end. */
  readonly auditRetentionDays: number | null;
  /** What a write does whose intent cannot be recorded, because the outbox of the audit log is full. */
  readonly auditOnFailure: "continue" | "refuse_writes";
  /** Where records of the audit log are sent as logs of OpenTelemetry: the whole URL, and headers for the receiver. */
  readonly otlp: { readonly url: string; readonly headers: Readonly<Record<string, string>> } | null;
  /** How long an agent that nobody approves, and that never verifies itself, is kept. */
  readonly unapprovedAgentDays: number;
  readonly corsOrigins: readonly string[];
  readonly webhookAllowLoopback: boolean;
  /** The ports that webhooks may be sent to, beside 443. */
  readonly webhookPorts: readonly number[];
  readonly signingKeys: readonly SigningKey[];
  /** The keys of `WEBHOOK_KEYS`, newest first. */
  readonly webhookKeys: readonly EncryptionKey[];
  /** The keys of `DATA_KEYS`, newest first. Without any, what they would encrypt is kept in memory only. */
  readonly dataKeys: readonly EncryptionKey[];
  /** The keys of `SECRET_PEPPER`: the first derives what is new, all of them verify. */
  readonly peppers: Peppers;
  /** The secret of the first of them, for what is not stored. */
  readonly pepper: string;
  /** How many sessions of an agent can be refreshed. */
  readonly sessionsPerAgent: number;
  /** How many times a token may be handed on by exchange, each time to another agent. */
  readonly delegationDepth: number;
  /** Whose tokens are exchanged for those of an agent. */
  readonly trustedIssuers: readonly TrustedIssuer[];
  readonly adminBootstrapToken: string | null;
  /** Whether the bootstrap token still registers agents once there are people. */
  readonly keepsBootstrap: boolean;
  /** The company's OpenID provider, where people may sign in. Null: there is none. */
  readonly oidc: {
    readonly issuer: string;
    readonly clientId: string;
    readonly clientSecret: string;
    /** The claim of the ID token that gives the roles. Null: they are given by invitation. */
    readonly roleClaim: string | null;
  } | null;
  readonly catalogue: Catalogue;
  readonly services: ReadonlyMap<string, Service>;
  /** Returns an upstream's secret: `secret("github", "TOKEN")` reads `UPSTREAM_GITHUB_TOKEN`. Undefined if it is not set. */
  readonly secret: (service: string, part: SecretPart) => string | undefined;
}

/** Thrown for settings that cannot be used. Each fault is a sentence that names its setting and what to do; none shows a value. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join(" "));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

const seconds = (fallback: number, minimum = 0) => z._default(wholeNumber(minimum, 10 * 365 * 86_400), fallback);
const flag = once(() => z._default(z.pipe(z.transform(readFlag), z.boolean()), false));
const originOr = (other: string) =>
  z.string().check(
    z.refine((text) => text === other || URL.parse(text)?.origin === text, {
      error: 'must be an origin without a path, for example "https://agentauth.example.com"',
    }),
  );
/** Broken JSON is called that, and not an object of the wrong shape. */
const json = once(() =>
  z.transform((value: unknown, context) => {
    if (typeof value !== "string") return value;
    const fault = jsonFault(value);
    if (fault === undefined) return JSON.parse(value) as unknown;
    context.issues.push({ code: "custom", message: fault, input: value });
    return z.NEVER;
  }),
);
const jwkSet = <Key extends z.ZodMiniType>(key: Key) =>
  z.pipe(json(), z.object({ keys: z.array(key).check(z.minLength(1)) }));

const signingKey = once(() =>
  z.object({
    kty: z.enum(["EC"]),
    crv: z.enum(["P-256"]),
    kid: z.string().check(z.minLength(1)),
    x: z.string(),
    y: z.string(),
    d: z.string(),
  }),
);
const encryptionKey = once(() =>
  z.object({ kty: z.enum(["oct"]), kid: z.string().check(z.minLength(1)), k: z.string() }),
);
/** A key of another length would be found out by the first encryption only. */
const dataKey = once(() =>
  z.extend(encryptionKey(), {
    k: z.string().check(z.regex(/^[\w-]{43}$/, { error: "must be 32 bytes in base64url" })),
  }),
);

const pepper = once(() =>
  z.object({
    // It is part of every refresh token.
    id: z.string().check(z.regex(/^[\w-]{1,32}$/, "must be 1 to 32 letters, digits, - or _")),
    secret: z.string().check(z.minLength(32)),
  }),
);

/** One string, or a set of keys with ids. A string is a set of one, so that a set can begin with it. */
const pepperSet = once(() =>
  z.pipe(
    z.transform((value: unknown) =>
      typeof value === "string" && !value.trimStart().startsWith("{")
        ? { keys: [{ id: ONLY_PEPPER_ID, secret: value }] }
        : value,
    ),
    z.pipe(
      json(),
      z.pipe(
        z.object({
          keys: z.array(pepper()).check(
            z.minLength(1),
            z.refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, {
              error: "has two keys with one id",
            }),
          ),
        }),
        z.transform(({ keys }) => keys as unknown as Peppers),
      ),
    ),
  ),
);

const OTLP_ENDPOINT_FORM =
  'must be an https URL without a query, for example "https://otlp.example.com"; http is accepted for this machine only';

function isOtlpEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (text === "") return true;
  if (!url || url.search || url.hash || url.username || url.password) return false;
  return url.protocol === "https:" || isLoopbackUrl(text);
}

/** The URL of a receiver's logs. The endpoint is that of all signals, as OTEL_EXPORTER_OTLP_ENDPOINT is, or that of logs. */
const otlpUrl = (endpoint: string): string => endpoint.replace(/\/*$/, "").replace(/(\/v1\/logs)?$/, "/v1/logs");

/** Headers as in OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`, values percent-encoded. */
const otlpHeaders = once(() =>
  z.pipe(
    z.string(),
    z.transform((text, context) => {
      const headers: Record<string, string> = {};
      for (const pair of text.split(",").filter((one) => one.trim() !== "")) {
        const [, name, value] =
          /^\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\s*$/.exec(pair) ?? [];
        const decoded = value === undefined ? undefined : decodeValue(value);
        if (name === undefined || decoded === undefined) {
          // The value is a secret, and is not in the message.
          context.issues.push({ code: "custom", message: "must be name=value pairs, separated by commas", input: "" });
          return z.NEVER;
        }
        headers[name.toLowerCase()] = decoded;
      }
      return headers;
    }),
  ),
);

function decodeValue(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return /^[\x20-\x7e]*$/.test(decoded) ? decoded : undefined;
  } catch {
    return undefined;
  }
}

const OIDC_ISSUER_FORM =
  'must be the https URL that the provider calls itself in its ID tokens (iss), for example "https://login.example.com"; http is accepted for this machine only';

function isProviderUrl(text: string): boolean {
  const url = URL.parse(text);
  if (text === "") return true;
  if (!url || url.search || url.hash || url.username || url.password) return false;
  return url.protocol === "https:" || isLoopbackUrl(text);
}

const settings = once(() =>
  z.object({
    ENVIRONMENT: z.optional(z.string()),
    ISSUER: z.optional(originOr("")),
    AUDIENCE: z.optional(z.string()),
    REGISTRATION: z._default(z.enum(["open", "approval", "admin"]), "approval"),
    ACCESS_TOKEN_TTL_SECONDS: seconds(3600, 1),
    REFRESH_TOKEN_TTL_SECONDS: seconds(2_592_000, 1),
    REFRESH_FAMILY_TTL_SECONDS: seconds(7_776_000, 1),
    REFRESH_GRACE_SECONDS: seconds(10),
    STANDING_TTL_SECONDS: seconds(5),
    SESSIONS_PER_AGENT: z._default(wholeNumber(1, 10_000), 100),
    DELEGATION_DEPTH: z._default(wholeNumber(1, 4), 1),
    BODY_TIMEOUT_MS: z._default(wholeNumber(1000, 86_400_000), 600_000),
    ACTIVITY_RETENTION_DAYS: seconds(90, 1),
    AUDIT_ON_FAILURE: z._default(
      z.enum(["continue", "refuse_writes"], { error: "must be continue or refuse_writes" }),
      "continue",
    ),
    AUDIT_RETENTION_DAYS: z.optional(
      z.union([
        z.pipe(
          z.literal(""),
          z.transform(() => undefined),
        ),
        wholeNumber(1, 36_500),
      ]),
    ),
    OTLP_ENDPOINT: z._default(z.string().check(z.refine(isOtlpEndpoint, { error: OTLP_ENDPOINT_FORM })), ""),
    OTLP_HEADERS: z._default(otlpHeaders(), {}),
    UNAPPROVED_AGENT_DAYS: seconds(30, 1),
    CORS_ORIGINS: z._default(z.pipe(z.transform(splitList), z.array(originOr("*"))), []),
    WEBHOOK_ALLOW_LOOPBACK: flag(),
    WEBHOOK_PORTS: z._default(z.pipe(z.transform(splitList), z.array(wholeNumber(1, 65_535))), []),
    SIGNING_KEYS: jwkSet(signingKey()),
    WEBHOOK_KEYS: jwkSet(encryptionKey()),
    DATA_KEYS: z.optional(jwkSet(dataKey())),
    SECRET_PEPPER: pepperSet(),
    TRUSTED_ISSUERS: z._default(
      z.pipe(
        z.transform((value: unknown) => (value === "" ? [] : value)),
        z.pipe(json(), trustedIssuers()),
      ),
      [],
    ),
    ADMIN_BOOTSTRAP_TOKEN: z.optional(z.string()),
    BOOTSTRAP: z.optional(z.enum(["keep", "once"])),
    OIDC_ISSUER: z._default(z.string().check(z.refine(isProviderUrl, { error: OIDC_ISSUER_FORM })), ""),
    OIDC_CLIENT_ID: z._default(z.string(), ""),
    OIDC_CLIENT_SECRET: z._default(z.string(), ""),
    OIDC_ROLE_CLAIM: z._default(z.string(), ""),
  }),
);

/** Returns the names of all settings but `UPSTREAMS` and the secrets of services. */
export const settingNames = (): readonly string[] => Object.keys(settings().shape);

const NEW_SECRET = "Make it with `npm run keys -- new FILE` and set it with `wrangler secret bulk FILE`.";

/** What to do about a setting that is missing or wrong. */
const HELP: Record<string, string> = {
  SIGNING_KEYS: NEW_SECRET,
  WEBHOOK_KEYS: NEW_SECRET,
  DATA_KEYS:
    "Add it to the file of your secrets with `npm run keys -- publish data FILE`, and set it with `wrangler secret bulk FILE`.",
  SECRET_PEPPER: NEW_SECRET,
  TRUSTED_ISSUERS: 'See "Without any key" in docs/oauth.md.',
  ADMIN_BOOTSTRAP_TOKEN: "Use at least 24 random characters, or leave it unset to turn it off.",
};

const loaded = new WeakMap<object, Config | ConfigError>();

/**
 * Returns the configuration of an environment. It is read once per isolate, and then a warning is logged for each variable that is not a
 * setting.
 *
 * @throws {ConfigError} naming every setting that is missing or wrong.
 */
export function loadConfig(env: object): Config {
  let config = loaded.get(env);
  if (!config) {
    config = readConfig(env as Record<string, unknown>, upstreamFiles);
    loaded.set(env, config);
    if (!(config instanceof ConfigError)) {
      for (const warning of unknownSettings(env as Record<string, unknown>, config.services.keys()))
        logWarning(warning);
    }
  }
  if (config instanceof ConfigError) throw config;
  return config;
}

/**
 * Returns a warning, as a sentence, for each variable and secret that the Worker does not read, most of which are misspelt. The command
 * that starts or deploys the Worker prints the warnings. It continues, because a variable may belong to another tool.
 *
 * @param env the variables and secrets; bindings are not strings and are ignored.
 * @param services the names of all services, the operator's own included.
 */
export function unknownSettings(env: Record<string, unknown>, services: Iterable<string>): string[] {
  const secrets = [...services].flatMap((service) => SECRET_PARTS.map((part) => secretName(service, part)));
  const known = new Set([...settingNames(), "UPSTREAMS", ...secrets]);
  const unknown = Object.entries(env).filter(
    ([name, value]) => typeof value === "string" && !known.has(name) && !name.startsWith("UPSTREAMS."),
  );
  return unknown.map(([name]) => {
    const nearest = nearestName(name, known);
    return `${name} is not a setting of AgentAuth.${nearest === undefined ? "" : ` Did you mean ${nearest}?`}`;
  });
}

const SECRET_PARTS: readonly SecretPart[] = ["TOKEN", "USERNAME", "CLIENT_ID", "CLIENT_SECRET", "PRIVATE_KEY"];

function readConfig(env: Record<string, unknown>, files: Readonly<Record<string, unknown>>): Config | ConfigError {
  const faults: string[] = [];
  const parsed = settings().safeParse(env, { error: explainIssue });
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    const help = HELP[name] ?? "";
    const isMissing = env[name] === undefined || (env[name] === "" && help !== "");
    const at = issue.path.length > 1 ? ` (at ${issue.path.slice(1).join(".")})` : "";
    const message = issue.code === "unrecognized_keys" ? `has no setting ${issue.keys.join(", ")}` : issue.message;
    faults.push((isMissing ? `${name} is not set. ${help}` : `${name}${at} ${message}. ${help}`).trim());
  }
  const development = env.ENVIRONMENT === "development";
  if (!development && !env.ISSUER) {
    faults.push("ISSUER is not set. Put this deployment's public origin into [vars] of wrangler.toml.");
  }
  if (development && env.ISSUER && !isLoopbackUrl(String(env.ISSUER))) {
    faults.push(
      "ENVIRONMENT is development, and ISSUER is not an origin of this machine. In a deployment, remove ENVIRONMENT; in local development, set ISSUER to '' in .dev.vars.",
    );
  }
  if (!development && String(env.OTLP_ENDPOINT ?? "").startsWith("http:")) {
    faults.push(
      "OTLP_ENDPOINT is an http URL. Records are sent in the clear to this machine only, in local development: use https.",
    );
  }
  if (!development && String(env.OIDC_ISSUER ?? "").startsWith("http:")) {
    faults.push(
      "OIDC_ISSUER is an http URL. Whoever is between it and this deployment could sign in as anybody: use https.",
    );
  }
  const provider = ["OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"];
  const named = [...provider, "OIDC_ROLE_CLAIM"].filter((name) => env[name]);
  for (const name of named.length > 0 ? provider.filter((one) => !env[one]) : []) {
    faults.push(`${name} is not set, and ${named[0]} is. Set ${provider.join(", ")} together, or none of them.`);
  }
  const bootstrap = parsed.data?.ADMIN_BOOTSTRAP_TOKEN || null;
  if (bootstrap && bootstrap.length < 24) {
    faults.push(`ADMIN_BOOTSTRAP_TOKEN is too short. ${HELP.ADMIN_BOOTSTRAP_TOKEN}`);
  }
  if (parsed.data?.TRUSTED_ISSUERS.some(({ issuer }) => issuer === parsed.data.ISSUER)) {
    faults.push("TRUSTED_ISSUERS names this deployment itself, whose tokens are none of another issuer. Remove it.");
  }
  // Whoever has a token of AUDIENCE may send it everywhere: one for the MCP server or for a service would be one for all.
  const audience = URL.parse(String(env.AUDIENCE ?? ""));
  if (audience && audience.origin === env.ISSUER && /^\/(?:mcp|proxy)(?:\/|$)/.test(audience.pathname)) {
    faults.push(
      "AUDIENCE is the URL of the MCP server or of a service, and tokens for that alone would be good at every endpoint. Leave it out: clients ask for such a token with resource.",
    );
  }
  const { upstreams, faults: upstreamFaults } = upstreamSettings(env, files);
  const {
    services,
    catalogue,
    faults: serviceFaults,
  } = loadServices(upstreams, BUILT_IN_CATALOGUE, parsed.data?.ISSUER, unchangedFiles(env, files));
  faults.push(...upstreamFaults, ...serviceFaults.map(describeFault));
  if (faults.length > 0 || !parsed.data) return new ConfigError(faults);

  const data = parsed.data;
  const issuer = data.ISSUER || null;
  return Object.freeze({
    development,
    issuer,
    audience: data.AUDIENCE || issuer,
    registration: data.REGISTRATION,
    accessTokenTtl: data.ACCESS_TOKEN_TTL_SECONDS,
    refreshTokenTtl: data.REFRESH_TOKEN_TTL_SECONDS,
    refreshFamilyTtl: data.REFRESH_FAMILY_TTL_SECONDS,
    refreshGrace: data.REFRESH_GRACE_SECONDS,
    standingTtl: data.STANDING_TTL_SECONDS,
    bodyTimeoutMs: data.BODY_TIMEOUT_MS,
    activityRetentionDays: data.ACTIVITY_RETENTION_DAYS,
    auditOnFailure: data.AUDIT_ON_FAILURE,
    auditRetentionDays: data.AUDIT_RETENTION_DAYS ?? null,
    otlp: data.OTLP_ENDPOINT === "" ? null : { url: otlpUrl(data.OTLP_ENDPOINT), headers: data.OTLP_HEADERS },
    unapprovedAgentDays: data.UNAPPROVED_AGENT_DAYS,
    corsOrigins: data.CORS_ORIGINS,
    webhookAllowLoopback: data.WEBHOOK_ALLOW_LOOPBACK,
    webhookPorts: data.WEBHOOK_PORTS,
    signingKeys: data.SIGNING_KEYS.keys,
    webhookKeys: data.WEBHOOK_KEYS.keys,
    dataKeys: data.DATA_KEYS?.keys ?? [],
    peppers: data.SECRET_PEPPER,
    pepper: data.SECRET_PEPPER[0].secret,
    sessionsPerAgent: data.SESSIONS_PER_AGENT,
    delegationDepth: data.DELEGATION_DEPTH,
    trustedIssuers: data.TRUSTED_ISSUERS,
    adminBootstrapToken: bootstrap,
    keepsBootstrap: (data.BOOTSTRAP ?? (development ? "keep" : "once")) === "keep",
    oidc:
      data.OIDC_ISSUER === ""
        ? null
        : {
            issuer: data.OIDC_ISSUER,
            clientId: data.OIDC_CLIENT_ID,
            clientSecret: data.OIDC_CLIENT_SECRET,
            roleClaim: data.OIDC_ROLE_CLAIM || null,
          },
    catalogue,
    services,
    secret(service: string, part: SecretPart) {
      const value = env[secretName(service, part)];
      return typeof value === "string" && value !== "" ? value : undefined;
    },
  });
}

/** The upstreams whose files, checked when the Worker was built, are used as they are: no variable changes a key of them. */
function unchangedFiles(env: Record<string, unknown>, files: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const changed = new Set(Object.keys(env).map((setting) => setting.split(".")[1]));
  return new Set(Object.keys(files).filter((name) => !changed.has(name)));
}

function splitList(value: unknown): unknown {
  return typeof value === "string" ? value.split(/[\s,]+/).filter(Boolean) : value;
}

function readFlag(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const text = value.trim().toLowerCase();
  return ["true", "1", "yes", "on"].includes(text) || (["false", "0", "no", "off", ""].includes(text) ? false : value);
}
