import type { Config } from "../config.ts";
import type { Service } from "./services.ts";

/** What is injected, and the texts that must never come back to the agent. */
export interface Credential {
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  readonly secrets: readonly string[];
}

/** The credential of a service, or the name of the secret that is missing. */
export function credentialFor(service: Service, config: Config): Credential | { missing: string } {
  const { credential: scheme, name } = service;
  if (scheme.scheme === "none") return { headers: [], secrets: [] };
  const token = config.secret(name, "TOKEN");
  if (!token) return { missing: secretName(name, "TOKEN") };
  switch (scheme.scheme) {
    case "bearer":
      return { headers: [["authorization", `Bearer ${token}`]], secrets: [token] };
    case "basic": {
      const username = config.secret(name, "USERNAME");
      if (!username) return { missing: secretName(name, "USERNAME") };
      const encoded = toBase64(`${username}:${token}`);
      return { headers: [["authorization", `Basic ${encoded}`]], secrets: [token, encoded] };
    }
    case "header":
      return { headers: [[scheme.name, `${scheme.prefix ?? ""}${token}`]], secrets: [token] };
  }
}

function secretName(service: string, part: string): string {
  return `UPSTREAM_${service.replaceAll("-", "_").toUpperCase()}_${part}`;
}

/** Base64 of the UTF-8 bytes (RFC 7617 §2.1). */
function toBase64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
