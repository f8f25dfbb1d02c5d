import type { Config } from "../../config/config.ts";
import type { SecretPart } from "../../policy/service-definition.ts";
import { secretName, type Service } from "../../policy/services.ts";
import { secretEncodings, type SecretEncodings } from "../upstream/secret-leak.ts";
import { getUpstreamToken, type TokenRequestFailure, type UpstreamToken } from "./client-credentials.ts";

/** The real credential of an upstream, as it is put into a request. */
export interface Credential {
  /** Names are in lower case, so that they replace any other header with the same name. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** The texts that an agent must never receive: every encoding of the secrets. User names and client ids are not secrets. */
  readonly secretEncodings: SecretEncodings;
  /** The only origin that the credential may be sent to. */
  readonly origin: string;
  /** Drops the credential from the cache, after the upstream has refused it. Undefined if no other could be fetched. */
  readonly invalidate?: () => void;
}

/**
 * Why there is no credential: the name of a setting that is not set or that a header cannot contain, or the failure of the token
 * endpoint. It contains no value of a secret.
 */
export type CredentialFault = { readonly missing: string } | TokenRequestFailure;

const staticCredentials = new WeakMap<Service, Credential>();
const tokenCredentials = new WeakMap<UpstreamToken, Credential>();

/**
 * Returns the credential of a service, from its secrets or its token endpoint. An isolate reads secrets once.
 *
 * @param now milliseconds since the epoch.
 */
export async function getCredential(
  service: Service,
  config: Pick<Config, "secret">,
  { now, waitUntil }: { now: number; waitUntil: (work: Promise<unknown>) => void },
): Promise<Credential | CredentialFault> {
  const cached = staticCredentials.get(service);
  if (cached) return cached;
  const { credential: scheme, name, origin } = service;
  if (origin === null) return { missing: `UPSTREAMS.${name}.base_url` };
  // A line break that was pasted after a secret is not part of it, because a header cannot contain one.
  const secret = (part: SecretPart) => config.secret(name, part)?.trim();
  const token = secret("TOKEN");
  switch (scheme.scheme) {
    case "none":
      return cache([]);
    case "bearer":
      return token ? bearer(token) : missing("TOKEN");
    case "header":
      return token ? cache([[scheme.name, `${scheme.prefix ?? ""}${token}`]], token) : missing("TOKEN");
    case "basic": {
      const username = secret("USERNAME");
      if (!token) return missing("TOKEN");
      if (!username) return scheme.orBearer ? bearer(token) : missing("USERNAME");
      const suffix = scheme.usernameSuffix ?? "";
      const encoded = toBase64(`${username.endsWith(suffix) ? username : username + suffix}:${token}`);
      return cache([["authorization", `Basic ${encoded}`]], token, encoded);
    }
    case "headers": {
      const headers: [string, string][] = [];
      const secrets: string[] = [];
      for (const [header, part] of Object.entries(scheme.headers)) {
        const value = secret(part);
        if (!value) return missing(part);
        headers.push([header, value]);
        if (part === "TOKEN" || part === "CLIENT_SECRET") secrets.push(value);
      }
      return cache(headers, ...secrets);
    }
    case "client_credentials": {
      if (token) return bearer(token);
      const clientId = secret("CLIENT_ID");
      const clientSecret = secret("CLIENT_SECRET");
      if (!clientId) return missing("CLIENT_ID");
      if (!clientSecret) return missing("CLIENT_SECRET");
      const issued = await getUpstreamToken(service, { origin, scheme, clientId, clientSecret, now, waitUntil });
      return "failed" in issued ? issued : tokenCredential(issued, clientSecret);
    }
  }

  function bearer(text: string): Credential | CredentialFault {
    return cache([["authorization", `Bearer ${text}`]], text);
  }
  function cache(headers: Credential["headers"], ...secrets: string[]): Credential | CredentialFault {
    if (headers.some(([, value]) => /[^\x20-\x7e]/.test(value))) return missing("TOKEN");
    const credential: Credential = {
      headers: headers.map(([header, value]) => [header.toLowerCase(), value]),
      secretEncodings: secretEncodings(secrets),
      origin: origin!,
    };
    staticCredentials.set(service, credential);
    return credential;
  }
  function missing(part: SecretPart): CredentialFault {
    return { missing: secretName(name, part) };
  }
}

/** The encodings of a token are computed once, and not for every request that uses it. */
function tokenCredential(issued: UpstreamToken, clientSecret: string): Credential {
  let credential = tokenCredentials.get(issued);
  if (!credential) {
    credential = {
      headers: [["authorization", `Bearer ${issued.token}`]],
      secretEncodings: secretEncodings([issued.token, clientSecret]),
      origin: issued.origin,
      invalidate: issued.invalidate,
    };
    tokenCredentials.set(issued, credential);
  }
  return credential;
}

/** Returns base64 of the UTF-8 bytes (RFC 7617 §2.1). */
function toBase64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
