import type { ServiceDefinition } from "./service-definition.ts";

/**
 * Request headers that every upstream may see. Whatever is not named is dropped. A coding without its name, or a write or a range
 * without its condition, would mean something else: these are named too.
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
 * The headers to forward, lower case, without the credential.
 *
 * `Content-Length` is not among them: the runtime sets it for a body whose length it knows.
 */
export function requestHeaders(sent: Headers, definition: ServiceDefinition): Record<string, string> {
  const headers: Record<string, string> = { ...definition.defaultHeaders, "user-agent": USER_AGENT };
  const named = connectionNamed(sent);
  for (const [name, value] of sent) if (isForwarded(name, value, named, definition)) headers[name] = value;
  return headers;
}

/** The names of the headers that are not forwarded. */
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

/** A header as the upstream gets it: null if it is missing, or if `Connection` names it and so takes it off the request. */
export const endToEndHeader = (headers: Headers, name: string): string | null =>
  connectionNamed(headers).includes(name) ? null : headers.get(name);

/**
 * Whether a `Range` asks for several parts in one answer, in which the credential could stand in pieces. An upstream may answer with the
 * whole as if nothing had been asked (RFC 9110 §14.2), and so it does where the header is not forwarded.
 */
const isSeveralRanges = (value: string): boolean => value.includes(",");

/** How long a message says that its body is, in bytes; undefined where it says nothing that can be read. */
export function contentLength(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** What `Connection` names is for the next hop only, whatever else it is called (RFC 9110 §7.6.1). */
export function connectionNamed(headers: Headers): readonly string[] {
  const named = headers.get("connection");
  return named ? named.split(",").map((name) => name.trim().toLowerCase()) : [];
}
