import { privateCacheControl } from "./cache-control.ts";
import type { ServiceDefinition } from "../../policy/service-definition.ts";
import { containsSecret, inLowerCase, type SecretEncodings } from "./secret-leak.ts";
import { connectionNamed } from "../../policy/request-headers.ts";
import { responseHeaderName } from "../../policy/response-headers.ts";
import { rewriteLinkHeader } from "./link-header.ts";

/**
 * Changes an upstream's headers into those that the agent gets: only the ones of the allow-list, none that contains the credential, and
 * links as `resolve` returns them. Then it sets the gateway's own.
 *
 * @param headers the runtime's own copy of `received`, which costs half of one made here. It is changed.
 * @param resolve returns the link that the agent gets in place of one, or undefined if it gets none.
 */
export function setResponseHeaders(
  headers: Headers,
  received: Headers,
  definition: ServiceDefinition,
  secretEncodings: SecretEncodings,
  resolve: (url: string) => string | undefined,
): void {
  const named = connectionNamed(received);
  let names = "";
  let values = "";
  received.forEach((value, name) => {
    const kept = named.includes(name) ? undefined : responseHeaderName(name, definition);
    if (kept !== name) headers.delete(name);
    if (kept === undefined) return;
    const passed = rewritten(name, value, resolve);
    // No secret contains an empty line, so none is found across two headers.
    names += `${name}\n\n`;
    values += `${passed ?? ""}\n\n`;
    if (passed === undefined) headers.delete(name);
    else if (kept !== name || passed !== value) headers.set(kept, passed);
  });
  const inNames = inLowerCase(secretEncodings);
  if (containsSecret(values, secretEncodings) || containsSecret(names, inNames)) {
    // What is searched is what would be passed on: a link may have lost the credential's parameter.
    const leaks = [...headers].filter(
      ([name, value]) => containsSecret(value, secretEncodings) || containsSecret(name, inNames),
    );
    for (const [name] of leaks) headers.delete(name);
  }
  // A response to one agent must never be served to another, so it is kept out of shared caches even if the upstream allows them.
  headers.set("cache-control", privateCacheControl(headers.get("cache-control")));
  headers.append("vary", "Authorization, X-AgentAuth-Links");
  // An upstream's page must not run on the gateway's origin, where other agents' answers and the console are.
  headers.set("content-security-policy", "default-src 'none'; sandbox");
  headers.set("x-content-type-options", "nosniff");
  // Distinguishes an error of the upstream from one of the gateway: only the latter is about the agent's token.
  headers.set("x-agentauth-upstream", definition.name);
}

function rewritten(name: string, value: string, resolve: (url: string) => string | undefined): string | undefined {
  if (name === "link") return rewriteLinkHeader(value, resolve);
  return name === "location" || name === "content-location" ? resolve(value) : value;
}
