import { privateCacheControl } from "./cache-control.ts";
import type { ServiceDefinition } from "../../policy/service-definition.ts";
import { containsSecret, inLowerCase, type SecretEncodings } from "./secret-leak.ts";
import { connectionNamed } from "../../policy/request-headers.ts";
import { responseHeaderName } from "../../policy/response-headers.ts";
import { rewriteLinkHeader } from "./link-header.ts";

/** Headers by their names in lower case: those of a response, or a map of the few that a caller within this Worker reads. */
export interface HeaderMap {
  get(name: string): string | null | undefined;
  set(name: string, value: string): unknown;
  delete(name: string): unknown;
  forEach(each: (value: string, name: string) => void): void;
  [Symbol.iterator](): Iterator<[name: string, value: string]>;
}

/** The headers of an answer that a caller within this Worker reads, and the one that says which of them are not for it. */
const READ_WITHIN = ["content-type", "content-length", "location", "link", "connection"];

/** Returns an upstream's headers without those that a caller within this Worker does not read: of twenty, two or three are left. */
export function headersReadWithin(received: Headers): Map<string, string> {
  const read = new Map<string, string>();
  for (const name of READ_WITHIN) {
    const value = received.get(name);
    if (value !== null) read.set(name, value);
  }
  return read;
}

/** The last names of headers that were found to contain no secret. An upstream's answers mostly have the same. */
let clean: { readonly names: string; readonly encodings: SecretEncodings } | undefined;

/** Returns whether the names of headers contain a secret. */
function namesContainSecret(names: string, secretEncodings: SecretEncodings): boolean {
  if (clean?.names === names && clean.encodings === secretEncodings) return false;
  if (containsSecret(names, inLowerCase(secretEncodings))) return true;
  clean = { names, encodings: secretEncodings };
  return false;
}

/**
 * Changes an upstream's headers into those that the agent gets: only the ones of the allow-list, none that contains the credential, and
 * links as `resolve` returns them.
 *
 * @param without the names of those that are wrong for the body that the agent gets, in lower case.
 * @param headers a copy of `received`, which is changed. Of a response's headers the runtime's own copy costs half of one made here.
 * @param resolve returns the link that the agent gets in place of one, or undefined if it gets none.
 */
export function filterResponseHeaders(
  headers: HeaderMap,
  received: HeaderMap,
  definition: ServiceDefinition,
  secretEncodings: SecretEncodings,
  resolve: (url: string) => string | undefined,
  without: readonly string[] = [],
): void {
  const named = connectionNamed(received);
  let names = "";
  let values = "";
  received.forEach((value, name) => {
    const isKept = !named.includes(name) && !without.includes(name);
    const kept = isKept ? responseHeaderName(name, definition) : undefined;
    if (kept !== name) headers.delete(name);
    if (kept === undefined) return;
    const passed = rewritten(name, value, resolve);
    // No secret contains an empty line, so none is found across two headers.
    names += `${name}\n\n`;
    values += `${passed ?? ""}\n\n`;
    if (passed === undefined) headers.delete(name);
    else if (kept !== name || passed !== value) headers.set(kept, passed);
  });
  if (containsSecret(values, secretEncodings) || namesContainSecret(names, secretEncodings)) {
    const inNames = inLowerCase(secretEncodings);
    // What is searched is what would be passed on: a link may have lost the credential's parameter.
    const leaks = [...headers].filter(
      ([name, value]) => containsSecret(value, secretEncodings) || containsSecret(name, inNames),
    );
    for (const [name] of leaks) headers.delete(name);
  }
}

/** Sets the headers that the gateway gives every answer of an upstream. @param headers those that the upstream's have become. */
export function setGatewayHeaders(headers: Headers, definition: Pick<ServiceDefinition, "name">): void {
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
