import * as z from "zod/mini";
import { explainIssue } from "../validation/explain-issue.ts";
import type { SecretPart } from "../policy/service-definition.ts";
import { loadServices, secretName, type Service } from "../policy/services.ts";
import { upstreamSettings } from "./upstream-settings.ts";
import { isLoopbackUrl } from "../validation/loopback.ts";
import { BUILT_IN_CATALOGUE, type Catalogue } from "../permissions/catalogue.ts";
import { wholeNumber } from "../validation/whole-number.ts";

/** A private signing key (ES256) as it stands in `SIGNING_KEYS`. */
export interface SigningKey {
  kty: "EC";
  crv: "P-256";
  kid: string;
  x: string;
  y: string;
  d: string;
}

/** A webhook encryption key (AES-GCM, 256 bits) as it stands in `WEBHOOK_KEYS`. */
export interface EncryptionKey {
  kty: "oct";
  kid: string;
  k: string;
}

/** The settings of one deployment, checked and frozen. Times are seconds unless a name says otherwise. */
export interface Config {
  /** Only this machine is served: hosts and origins other than loopback are refused. */
  readonly development: boolean;
  /** Null in local development: the request's own origin. */
  readonly issuer: string | null;
  readonly audience: string | null;
  readonly registration: "open" | "approval" | "admin";
  readonly accessTokenTtl: number;
  readonly refreshTokenTtl: number;
  readonly refreshFamilyTtl: number;
  readonly refreshGrace: number;
  readonly standingTtl: number;
  /** Milliseconds. */
  readonly bodyTimeoutMs: number;
  readonly activityRetentionDays: number;
  readonly corsOrigins: readonly string[];
  readonly webhookAllowLoopback: boolean;
  /** Ports beside 443 that webhooks may go to. */
  readonly webhookPorts: readonly number[];
  readonly signingKeys: readonly SigningKey[];
  readonly webhookKeys: readonly EncryptionKey[];
  readonly pepper: string;
  readonly adminBootstrapToken: string | null;
  readonly catalogue: Catalogue;
  readonly services: ReadonlyMap<string, Service>;
  /** The value of an upstream's secret: `secret("github", "TOKEN")` reads `UPSTREAM_GITHUB_TOKEN`. */
  readonly secret: (service: string, part: SecretPart) => string | undefined;
}

/** The settings are unusable. Each fault names its setting and what to do; none shows a value. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join(" "));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

const seconds = (fallback: number, minimum = 0) => z._default(wholeNumber(minimum, 10 * 365 * 86_400), fallback);
const flag = z._default(z.pipe(z.transform(readFlag), z.boolean()), false);
const originOr = (other: string) =>
  z.string().check(
    z.refine((text) => text === other || URL.parse(text)?.origin === text, {
      error: 'must be an origin without a path, for example "https://agentauth.example.com"',
    }),
  );
const jwkSet = <Key extends z.ZodMiniType>(key: Key) =>
  z.pipe(z.transform(parseJson), z.object({ keys: z.array(key).check(z.minLength(1)) }));

const signingKey = z.object({
  kty: z.enum(["EC"]),
  crv: z.enum(["P-256"]),
  kid: z.string().check(z.minLength(1)),
  x: z.string(),
  y: z.string(),
  d: z.string(),
});
const webhookKey = z.object({ kty: z.enum(["oct"]), kid: z.string().check(z.minLength(1)), k: z.string() });

const settings = z.object({
  ENVIRONMENT: z.optional(z.string()),
  ISSUER: z.optional(originOr("")),
  AUDIENCE: z.optional(z.string()),
  REGISTRATION: z._default(z.enum(["open", "approval", "admin"]), "approval"),
  ACCESS_TOKEN_TTL_SECONDS: seconds(3600, 1),
  REFRESH_TOKEN_TTL_SECONDS: seconds(2_592_000, 1),
  REFRESH_FAMILY_TTL_SECONDS: seconds(7_776_000, 1),
  REFRESH_GRACE_SECONDS: seconds(10),
  STANDING_TTL_SECONDS: seconds(5),
  BODY_TIMEOUT_MS: z._default(wholeNumber(1000, 86_400_000), 600_000),
  ACTIVITY_RETENTION_DAYS: seconds(90, 1),
  CORS_ORIGINS: z._default(z.pipe(z.transform(splitList), z.array(originOr("*"))), []),
  WEBHOOK_ALLOW_LOOPBACK: flag,
  WEBHOOK_PORTS: z._default(z.pipe(z.transform(splitList), z.array(wholeNumber(1, 65_535))), []),
  SIGNING_KEYS: jwkSet(signingKey),
  WEBHOOK_KEYS: jwkSet(webhookKey),
  SECRET_PEPPER: z.string().check(z.minLength(32)),
  ADMIN_BOOTSTRAP_TOKEN: z.optional(z.string()),
});

const HELP: Record<string, string> = {
  SIGNING_KEYS: "Make it with `npm run keys -- new FILE` and set it with `wrangler secret bulk FILE`.",
  WEBHOOK_KEYS: "Make it with `npm run keys -- new FILE` and set it with `wrangler secret bulk FILE`.",
  SECRET_PEPPER: "Make it with `npm run keys -- new FILE` and set it with `wrangler secret bulk FILE`.",
  ADMIN_BOOTSTRAP_TOKEN: "Use at least 24 random characters, or leave it unset to turn it off.",
};

const loaded = new WeakMap<object, Config | ConfigError>();

/**
 * The configuration in an environment, read once per isolate.
 *
 * @throws {ConfigError} naming every setting that is missing or wrong.
 */
export function loadConfig(env: object): Config {
  let config = loaded.get(env);
  if (!config) {
    config = readConfig(env as Record<string, unknown>);
    loaded.set(env, config);
  }
  if (config instanceof ConfigError) throw config;
  return config;
}

function readConfig(env: Record<string, unknown>): Config | ConfigError {
  const faults: string[] = [];
  const parsed = settings.safeParse(env, { error: explainIssue });
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    const at = issue.path.length > 1 ? ` (at ${issue.path.slice(1).join(".")})` : "";
    faults.push(
      env[name] === undefined
        ? `${name} is not set. ${HELP[name] ?? ""}`.trim()
        : `${name}${at} ${issue.message}. ${HELP[name] ?? ""}`.trim(),
    );
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
  const bootstrap = parsed.data?.ADMIN_BOOTSTRAP_TOKEN || null;
  if (bootstrap && bootstrap.length < 24) {
    faults.push(`ADMIN_BOOTSTRAP_TOKEN is too short. ${HELP.ADMIN_BOOTSTRAP_TOKEN}`);
  }
  const { upstreams, faults: upstreamFaults } = upstreamSettings(env);
  const {
    services,
    catalogue,
    faults: serviceFaults,
  } = loadServices(upstreams, BUILT_IN_CATALOGUE, parsed.data?.ISSUER);
  faults.push(...upstreamFaults, ...serviceFaults);
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
    corsOrigins: data.CORS_ORIGINS,
    webhookAllowLoopback: data.WEBHOOK_ALLOW_LOOPBACK,
    webhookPorts: data.WEBHOOK_PORTS,
    signingKeys: data.SIGNING_KEYS.keys,
    webhookKeys: data.WEBHOOK_KEYS.keys,
    pepper: data.SECRET_PEPPER,
    adminBootstrapToken: bootstrap,
    catalogue,
    services,
    secret(service: string, part: SecretPart) {
      const value = env[secretName(service, part)];
      return typeof value === "string" && value !== "" ? value : undefined;
    },
  });
}

function parseJson(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function splitList(value: unknown): unknown {
  return typeof value === "string" ? value.split(/[\s,]+/).filter(Boolean) : value;
}

function readFlag(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const text = value.trim().toLowerCase();
  return ["true", "1", "yes", "on"].includes(text) || (["false", "0", "no", "off", ""].includes(text) ? false : value);
}
