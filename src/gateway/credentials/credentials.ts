import type { Config } from "../../config/config.ts";
import { toBase64 } from "../../crypto/base64.ts";
import type { BasicScheme, CredentialScheme, SecretPart, TokenScheme } from "../../policy/service-definition.ts";
import { secretName, type Service } from "../../policy/services.ts";
import { secretEncodings, type SecretEncodings } from "../upstream/secret-leak.ts";
import { keyFault, toPkcs8 } from "./private-key.ts";
import type { SharedFailure } from "./token-object.ts";
import type { TokenPlan } from "./token-request.ts";
import { getUpstreamToken, type TokenContext, type UpstreamToken } from "./upstream-token.ts";

/** The real credential of an upstream, as it is put into a request. */
export interface Credential {
  /** Names are in lower case, so that they replace any other header with the same name. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** The query parameter that carries it. The value is not encoded. */
  readonly parameter?: { readonly name: string; readonly value: string };
  /** The texts that an agent must never receive: every encoding of the secrets. Client ids are not secrets. */
  readonly secretEncodings: SecretEncodings;
  /** The only origin that the credential may be sent to. */
  readonly origin: string;
  /** Drops the credential from the cache, after the upstream has refused it. Undefined if no other could be fetched. */
  readonly invalidate?: () => void;
}

/** A setting that is not set or cannot be used. Neither text contains a value of a secret. */
interface SettingFault {
  /** The name of the setting: `UPSTREAM_ORDERS_TOKEN`. */
  readonly setting: string;
  /** What is wrong with it, as the end of a sentence, and what to do. */
  readonly fault: string;
}

/** Why there is no credential: a setting, or a token endpoint that issued none. It contains no value of a secret. */
export type CredentialFault = SettingFault | SharedFailure;

const cachedCredentials = new WeakMap<Service, Credential>();
const tokenPlans = new WeakMap<Service, TokenPlan>();
const tokenCredentials = new WeakMap<UpstreamToken, Credential>();

/** Returns the credential of a service, from its secrets or its token endpoint. An isolate reads secrets once. */
export async function getCredential(
  service: Service,
  config: Pick<Config, "secret" | "dataKeys">,
  context: Omit<TokenContext, "keys">,
): Promise<Credential | CredentialFault> {
  const cached = cachedCredentials.get(service);
  if (cached) return cached;
  const { credential: scheme, name, origin } = service;
  if (origin === null) {
    return { setting: `UPSTREAMS.${name}.base_url`, fault: "is not set. Set it to the URL of the API" };
  }
  const secrets = secretsOf(service, config);
  if (isTokenScheme(scheme) && secrets.read("TOKEN") === undefined) {
    const plan = tokenPlans.get(service) ?? (await planOf(service, scheme, origin, secrets));
    if ("fault" in plan) return plan;
    tokenPlans.set(service, plan);
    const issued = await getUpstreamToken(service, plan, { ...context, keys: config.dataKeys });
    return "failed" in issued ? issued : tokenCredential(issued, plan.secret);
  }
  const placed = placeSecrets(scheme, secrets);
  if ("fault" in placed) return placed;
  const { headers = [], parameter, searched } = placed;
  const credential: Credential = {
    headers: headers.map(([header, value]) => [header.toLowerCase(), value]),
    ...(parameter && { parameter }),
    secretEncodings: secretEncodings(searched),
    origin,
  };
  cachedCredentials.set(service, credential);
  return credential;
}

/** Where secrets go in a request, and the texts that an agent must never receive. */
interface PlacedSecrets {
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>;
  readonly parameter?: Credential["parameter"];
  readonly searched: readonly string[];
}

function placeSecrets(scheme: CredentialScheme, secrets: Secrets): PlacedSecrets | SettingFault {
  switch (scheme.scheme) {
    case "none":
      return { searched: [] };
    case "header":
      return placeHeaders({ [scheme.name]: "TOKEN" }, secrets, scheme.prefix);
    case "headers":
      return placeHeaders(scheme.headers, secrets);
    case "query": {
      const token = secrets.read("TOKEN");
      if (token === undefined) return secrets.missing("TOKEN");
      return { parameter: { name: scheme.name, value: token }, searched: [token] };
    }
    case "basic":
      return placeBasic(scheme, secrets);
    default:
      return placeHeaders({ authorization: "TOKEN" }, secrets, "Bearer ");
  }
}

function placeHeaders(
  parts: Readonly<Record<string, SecretPart>>,
  secrets: Secrets,
  prefix = "",
): PlacedSecrets | SettingFault {
  const headers: [string, string][] = [];
  const searched: string[] = [];
  for (const [header, part] of Object.entries(parts)) {
    const value = secrets.read(part);
    if (value === undefined) return secrets.missing(part);
    if (/[^\x20-\x7e]/.test(value)) {
      return {
        setting: secrets.nameOf(part),
        fault: "contains a character that a header cannot carry: a line break, or one that is not ASCII. Set it again",
      };
    }
    headers.push([header, prefix + value]);
    if (part !== "CLIENT_ID" && !(part === "USERNAME" && isEmailAddress(value))) searched.push(value);
  }
  return { headers, searched };
}

function placeBasic(scheme: BasicScheme, secrets: Secrets): PlacedSecrets | SettingFault {
  const { tokenAs, orBearer, usernameSuffix = "", publicUsername } = scheme;
  const token = secrets.read("TOKEN");
  if (token === undefined) return secrets.missing("TOKEN");
  const username = tokenAs === "username" ? token : secrets.read("USERNAME");
  if (username === undefined) {
    return orBearer ? placeHeaders({ authorization: "TOKEN" }, secrets, "Bearer ") : secrets.missing("USERNAME");
  }
  if (username.includes(":")) {
    return {
      setting: secrets.nameOf(tokenAs === "username" ? "TOKEN" : "USERNAME"),
      fault: "contains a colon, which would end the user name (RFC 7617 §2)",
    };
  }
  const user = username.endsWith(usernameSuffix) ? username : username + usernameSuffix;
  const encoded = toBase64(new TextEncoder().encode(`${user}:${tokenAs === "username" ? "" : token}`));
  const searched = [token, encoded];
  // A user name can be a key, as with Stripe. An e-mail address is none, and stands in many answers.
  if (!publicUsername && !isEmailAddress(username)) searched.push(username);
  return { headers: [["authorization", `Basic ${encoded}`]], searched };
}

const isEmailAddress = (text: string): boolean => /^[^\s@]+@[^\s@]+\.[a-z]{2,}$/i.test(text);

const isTokenScheme = (scheme: CredentialScheme): scheme is TokenScheme =>
  scheme.scheme === "client_credentials" || scheme.scheme === "jwt_bearer" || scheme.scheme === "github_app";

/** Returns what a token is requested with, or the secret that is missing or cannot be used. */
async function planOf(
  service: Service,
  scheme: TokenScheme,
  origin: string,
  secrets: Secrets,
): Promise<TokenPlan | SettingFault> {
  const clientId = secrets.read("CLIENT_ID");
  if (clientId === undefined) return secrets.missing("CLIENT_ID");
  const url =
    scheme.scheme === "github_app"
      ? `${service.basePath}/app/installations/${scheme.installationId}/access_tokens`
      : scheme.tokenUrl;
  const plan = { scheme, tokenUrl: url.startsWith("/") ? origin + url : url, origin, clientId };
  if (scheme.scheme === "client_credentials") {
    const secret = secrets.read("CLIENT_SECRET");
    return secret === undefined ? secrets.missing("CLIENT_SECRET") : { ...plan, secret };
  }
  const text = secrets.read("PRIVATE_KEY");
  if (text === undefined) return secrets.missing("PRIVATE_KEY");
  const setting = secrets.nameOf("PRIVATE_KEY");
  const key = toPkcs8(text);
  if ("fault" in key) return { setting, fault: key.fault };
  const algorithm = (scheme.scheme === "jwt_bearer" && scheme.algorithm) || "RS256";
  const fault = await keyFault(key.pem, algorithm);
  return fault === undefined ? { ...plan, secret: key.pem } : { setting, fault };
}

/** The encodings of a token are computed once, and not for every request that uses it. */
function tokenCredential(issued: UpstreamToken, secret: string): Credential {
  let credential = tokenCredentials.get(issued);
  if (!credential) {
    credential = {
      headers: [["authorization", `Bearer ${issued.token}`]],
      // The upstream never gets a private key, and so cannot return it.
      secretEncodings: secretEncodings(secret.startsWith("-----") ? [issued.token] : [issued.token, secret]),
      origin: issued.origin,
      invalidate: issued.invalidate,
    };
    tokenCredentials.set(issued, credential);
  }
  return credential;
}

/** The secrets of one service. */
interface Secrets {
  /** Undefined if it is not set, or empty. */
  read(part: SecretPart): string | undefined;
  nameOf(part: SecretPart): string;
  missing(part: SecretPart): SettingFault;
}

const secretsOf = ({ name }: Service, config: Pick<Config, "secret">): Secrets => ({
  // A line break that was pasted after a secret is not part of it.
  read: (part) => config.secret(name, part)?.trim() || undefined,
  nameOf: (part) => secretName(name, part),
  missing: (part) => ({
    setting: secretName(name, part),
    fault: `is not set. Set it with \`wrangler secret put ${secretName(name, part)}\``,
  }),
});
