import type { ServiceDefinition } from "./service-definition.ts";

/**
 * The request headers that are forwarded to every upstream. All others are dropped. The list includes those without which a request would
 * change what it means: the coding of a body, and the conditions of a write or a range.
 */
const FORWARDED = new Set([
  "accept",
  "content-encoding",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "range",
]);

const USER_AGENT = "AgentAuth-Gateway/1";

/**
 * Returns the headers to forward, by name in lower case, without the credential.
 *
 * `Content-Length` is not among them: the runtime sets it for a body whose length it knows.
 */
export function requestHeaders(sent: Headers, definition: ServiceDefinition): Record<string, string> {
  const headers: Record<string, string> = { ...definition.defaultHeaders, "user-agent": USER_AGENT };
  const named = connectionNamed(sent);
  for (const [name, value] of sent) if (isForwarded(name, value, named, definition)) headers[name] = value;
  return headers;
}

/** Returns the names of the headers that are not forwarded, in lower case. */
export function droppedHeaders(sent: Headers, definition: ServiceDefinition): string[] {
  const named = connectionNamed(sent);
  return [...sent]
    .filter(([name, value]) => name !== "content-length" && !isForwarded(name, value, named, definition))
    .map(([name]) => name);
}

function isForwarded(
  name: string,
  value: string,
  named: readonly string[],
  { requestHeaders: own }: ServiceDefinition,
): boolean {
  if (named.includes(name) || (name === "range" && isSeveralRanges(value))) return false;
  return FORWARDED.has(name) || own?.get(name)?.test(value) === true;
}

/** Returns a header as the upstream gets it: null if it is missing, or if `Connection` names it, which removes it (RFC 9110 §7.6.1). */
export const endToEndHeader = (headers: Headers, name: string): string | null =>
  connectionNamed(headers).includes(name) ? null : headers.get(name);

/**
 * Returns whether a `Range` requests several parts: the credential could be split among them, where no search finds it. Such a header is
 * not forwarded, and the upstream answers with the whole, as any server may (RFC 9110 §14.2).
 */
const isSeveralRanges = (value: string): boolean => value.includes(",");

/** Returns the declared Content-Length in bytes, or undefined if there is none or it is not a number. */
export function contentLength(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Returns the names that `Connection` lists, in lower case: these headers are for the next hop only (RFC 9110 §7.6.1). */
export function connectionNamed(headers: Headers): readonly string[] {
  const named = headers.get("connection");
  return named ? named.split(",").map((name) => name.trim().toLowerCase()) : [];
}
