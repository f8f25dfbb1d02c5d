import type { Config } from "../../config/config.ts";
import { getUpstreamToken, type TokenRequestFailure } from "./client-credentials.ts";
import type { SecretPart } from "../../policy/service-definition.ts";
import { secretEncodings, type SecretEncodings } from "../upstream/secret-leak.ts";
import { secretName, type Service } from "../../policy/services.ts";

/** What is injected, where it may be sent, and the texts that must never come back to the agent. */
export interface Credential {
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** The secrets in every encoding that is looked for; user names and client ids are none. */
  readonly secretEncodings: SecretEncodings;
  readonly origin: string;
  /** Set where another can be had: tells that the upstream no longer takes this one. */
  readonly invalidate?: () => void;
}

/** Why there is no credential: what is missing in the settings or no header can carry, or why the token endpoint gave none. */
export type CredentialFault = { readonly missing: string } | TokenRequestFailure;

const staticCredentials = new WeakMap<Service, Credential>();
const tokenCredentials = new WeakMap<object, Credential>();

/** The credential of a service. Names what is missing; never a value. */
export async function getCredential(
  service: Service,
  config: Config,
  { now, waitUntil }: { now: number; waitUntil: (work: Promise<unknown>) => void },
): Promise<Credential | CredentialFault> {
  const known = staticCredentials.get(service);
  if (known) return known;
  const { credential: scheme, name, origin } = service;
  if (origin === null) return { missing: `UPSTREAMS.${name}.base_url` };
  // A line's end that was pasted with a secret is none of it: no header would carry it, and no answer would show it.
  const secret = (part: SecretPart) => config.secret(name, part)?.trim();
  const token = secret("TOKEN");
  const keep = (headers: Credential["headers"], ...secrets: string[]): Credential | CredentialFault => {
    if (headers.some(([, value]) => /[^\x20-\x7e]/.test(value))) return missing("TOKEN");
    // In lower case they stand in the place of whatever else has their name.
    headers = headers.map(([header, value]) => [header.toLowerCase(), value]);
    const credential = { headers, secretEncodings: secretEncodings(secrets), origin };
    staticCredentials.set(service, credential);
    return credential;
  };
  switch (scheme.scheme) {
    case "none":
      return keep([]);
    case "bearer":
      return token ? bearer(token) : missing("TOKEN");
    case "header":
      return token ? keep([[scheme.name, `${scheme.prefix ?? ""}${token}`]], token) : missing("TOKEN");
    case "basic": {
      const username = secret("USERNAME");
      if (!token) return missing("TOKEN");
      if (!username) return scheme.orBearer ? bearer(token) : missing("USERNAME");
      const suffix = scheme.usernameSuffix ?? "";
      const encoded = toBase64(`${username.endsWith(suffix) ? username : username + suffix}:${token}`);
      return keep([["authorization", `Basic ${encoded}`]], token, encoded);
    }
    case "headers": {
      const headers: [string, string][] = [];
      const hidden: string[] = [];
      for (const [header, part] of Object.entries(scheme.headers)) {
        const value = secret(part);
        if (!value) return missing(part);
        headers.push([header, value]);
        if (part === "TOKEN" || part === "CLIENT_SECRET") hidden.push(value);
      }
      return keep(headers, ...hidden);
    }
    case "client_credentials": {
      if (token) return bearer(token);
      const clientId = secret("CLIENT_ID");
      const clientSecret = secret("CLIENT_SECRET");
      if (!clientId) return missing("CLIENT_ID");
      if (!clientSecret) return missing("CLIENT_SECRET");
      const bought = await getUpstreamToken(service, { origin, scheme, clientId, clientSecret, now, waitUntil });
      if ("failed" in bought) return bought;
      let credential = tokenCredentials.get(bought);
      if (!credential) {
        credential = {
          headers: [["authorization", `Bearer ${bought.token}`]],
          secretEncodings: secretEncodings([bought.token, clientSecret]),
          origin: bought.origin,
          invalidate: bought.invalidate,
        };
        tokenCredentials.set(bought, credential);
      }
      return credential;
    }
  }

  function bearer(text: string): Credential | CredentialFault {
    return keep([["authorization", `Bearer ${text}`]], text);
  }
  function missing(part: SecretPart): CredentialFault {
    return { missing: secretName(name, part) };
  }
}

/** Base64 of the UTF-8 bytes (RFC 7617 §2.1). */
function toBase64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
