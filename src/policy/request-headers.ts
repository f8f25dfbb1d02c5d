import { contentCoding } from "./content-coding.ts";
import { ANY, type HeaderRule, type HeaderRules } from "./header-rule.ts";
import type { ServiceDefinition } from "./service-definition.ts";

/** The headers of a request: those of a `Request`, or the same as a map by name in lower case, which costs less to look into. */
export type SentHeaders = Headers | ReadonlyMap<string, string>;

/** The request headers as the upstream gets them, and what became of the others. */
export interface ReadHeaders {
  /** By name in lower case, without the credential. */
  readonly forwarded: Record<string, string>;
  /** The names of the headers that are not forwarded and that the agent is told of. */
  readonly dropped: readonly string[];
  /** The first header for which the request is refused. */
  readonly refused: RefusedHeader | undefined;
}

export interface RefusedHeader {
  readonly name: string;
  readonly because: string;
}

const passes = (otherwise: HeaderRule["otherwise"], because?: string): HeaderRule => ({
  passes: ANY,
  otherwise,
  ...(because !== undefined && { because }),
});

const CONDITION = "without it the write would be done in a state in which it is not meant to be done";
const REPRESENTATION =
  "it says what the body is a part or a kind of, and without it something else would be written (RFC 9110 §8)";
const METHOD = "it names another method than the one that is checked. Send that method itself";

/** The rules for every upstream. A header without a rule is dropped. */
export const GENERAL_REQUEST_HEADERS: HeaderRules = {
  accept: passes("drop"),
  "accept-language": passes("drop"),
  "content-type": passes("drop"),
  "content-encoding": passes("refuse_write", "without it the body cannot be decoded"),
  "idempotency-key": passes("refuse_write", "without it a repeated request would be done twice"),
  "if-match": passes("refuse_write", CONDITION),
  "if-none-match": passes("refuse_write", CONDITION),
  "if-modified-since": passes("refuse_write", CONDITION),
  "if-unmodified-since": passes("refuse_write", CONDITION),
  "if-range": passes("drop"),
  // The credential could be split among several parts, where no search finds it. The upstream answers with the whole, as any server
  // may (RFC 9110 §14.2).
  range: { passes: /^[^,]*$/, otherwise: "drop" },
  // Where a stream of events goes on (https://html.spec.whatwg.org/multipage/server-sent-events.html#last-event-id).
  "last-event-id": passes("drop"),
  // https://www.w3.org/TR/trace-context/. `baggage` does not pass: it holds whatever an application puts into it, and its specification
  // warns of sending that to third parties (https://www.w3.org/TR/baggage/#privacy-considerations).
  traceparent: passes("drop"),
  tracestate: passes("drop"),

  if: { otherwise: "refuse_write", because: CONDITION },
  "if-*": { otherwise: "refuse_write", because: CONDITION },
  "content-*": { otherwise: "refuse_write", because: REPRESENTATION },
  // Only the body's integrity depends on it, which TLS keeps.
  "content-digest": { otherwise: "drop" },
  "content-md5": { otherwise: "drop" },
  // HTTP does not use it (RFC 9112 appendix B.5).
  "content-transfer-encoding": { otherwise: "drop" },
  "x-http-method": { otherwise: "refuse", because: METHOD },
  "x-http-method-override": { otherwise: "refuse", because: METHOD },
  "x-method-override": { otherwise: "refuse", because: METHOD },
  "x-idempotency-key": {
    otherwise: "refuse_write",
    because: "without it a repeated request would be done twice. Send Idempotency-Key",
  },
};

/** Names of general rules that speak of the method. One that names the request's own method changes nothing. */
const METHOD_OVERRIDES = new Set(["x-http-method", "x-http-method-override", "x-method-override"]);

/** What frames or routes one hop (RFC 9110 §7.6.1), what proxies say about the sender, what browsers and HTTP libraries add, and the gateway's own. */
const HOP_AND_SENDER = [
  "host|connection|keep-alive|te|trailer|transfer-encoding|upgrade-insecure-requests|expect|proxy-.*|max-forwards|content-length",
  "via|forwarded|x-forwarded.*|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cdn-loop|cf-.*|mf-.*",
  "authorization|user-agent|accept-encoding|cache-control|pragma|date|origin|referer|sec-.*|dnt|priority|save-data",
  "x-agentauth-.*|agentauth-.*",
];

/** Names of headers that are dropped and not told. The last are telemetry of SDKs and platforms. */
const AMBIENT = nameOf([...HOP_AND_SENDER, "x-requested-with|x-stainless-.*|x-amzn-trace-id|x-cloud-trace-context"]);

/**
 * Names that an operator can neither forward nor set. Beside the above: what decides how the body is read, cookies, and other methods and
 * paths than those that are checked. `Accept-Encoding` is the runtime's, which decodes an answer so that it can be searched.
 */
const RESERVED = nameOf([
  ...HOP_AND_SENDER,
  "content-(?:type|encoding|transfer-encoding|md5|digest)|accept-charset|range|if-range|upgrade|http2-settings",
  "cookie.*|set-.*|x-http-method.*|x-method-override|x-original-.*|x-rewrite-.*",
]);

function nameOf(patterns: readonly string[]): RegExp {
  return new RegExp(`^(?:${patterns.join("|")})$`);
}

/**
 * Returns whether a name, or a pattern such as `x-forwarded-*`, is one that no operator may forward or set.
 *
 * @param pattern in lower case.
 */
export const isReservedRequestHeader = (pattern: string): boolean => RESERVED.test(pattern.replace(/\*$/, ""));

const USER_AGENT = "AgentAuth-Gateway/1";
const DROP: HeaderRule = { otherwise: "drop" };
const IGNORE: HeaderRule = { otherwise: "ignore" };

/** The rules of one table, sorted for the search. */
interface SortedRules {
  readonly exact: ReadonlyMap<string, HeaderRule>;
  readonly prefixes: readonly (readonly [prefix: string, rule: HeaderRule])[];
}

const sorted = new WeakMap<HeaderRules, SortedRules>();

function sortRules(rules: HeaderRules): SortedRules {
  let found = sorted.get(rules);
  if (!found) {
    const entries = Object.entries(rules);
    const isPrefix = ([name]: readonly [string, HeaderRule]) => name.endsWith("*");
    found = {
      exact: new Map(entries.filter((entry) => !isPrefix(entry))),
      prefixes: entries.filter(isPrefix).map(([name, rule]) => [name.slice(0, -1), rule] as const),
    };
    sorted.set(rules, found);
  }
  return found;
}

const NO_RULES: HeaderRules = {};
const GENERAL_RULES = sortRules(GENERAL_REQUEST_HEADERS);

/** A rule for exactly this name wins over one for its beginning, and the service's over the general ones. */
function ruleFor(name: string, own: SortedRules): HeaderRule {
  const exact = own.exact.get(name) ?? GENERAL_RULES.exact.get(name);
  if (exact) return exact;
  if (AMBIENT.test(name)) return IGNORE;
  if (RESERVED.test(name)) return DROP;
  const [, rule] =
    own.prefixes.find(([prefix]) => name.startsWith(prefix)) ??
    GENERAL_RULES.prefixes.find(([prefix]) => name.startsWith(prefix)) ??
    [];
  return rule ?? DROP;
}

/**
 * Reads the headers of a request: which the upstream gets, which are dropped, and whether the request is refused for one.
 *
 * `Content-Length` is not forwarded: the runtime sets it for a body whose length it knows.
 *
 * @param isWrite whether the request changes something.
 */
export function readRequestHeaders(
  sent: SentHeaders,
  method: string,
  { defaultHeaders, fixedHeaders = {}, requestHeaders = NO_RULES, tokenPlaces = [] }: ServiceDefinition,
  isWrite: boolean,
): ReadHeaders {
  const forwarded: Record<string, string> = { ...defaultHeaders, "user-agent": USER_AGENT };
  const named = connectionNamed(sent);
  const own = sortRules(requestHeaders);
  const dropped: string[] = [];
  let refused: RefusedHeader | undefined;
  for (const [name, value] of sent) {
    if (Object.hasOwn(fixedHeaders, name)) {
      if (value !== fixedHeaders[name]) dropped.push(name);
      continue;
    }
    if (tokenPlaces.some((place) => place.scheme === "header" && place.name === name)) continue;
    // What encodes nothing is not sent, so that no upstream reads a coding into it.
    if (name === "content-encoding" && contentCoding(value) === "none") continue;
    const rule = ruleFor(name, own);
    if (rule.passes?.test(value) === true && !named.includes(name)) {
      const kept = name === "prefer" ? withoutOwnPreferences(value) : value;
      if (kept !== "") forwarded[name] = kept;
      if (kept !== value) dropped.push(name);
      continue;
    }
    const { otherwise, because = "the gateway does not forward it" } = rule;
    if (otherwise === "ignore" || (METHOD_OVERRIDES.has(name) && value.toUpperCase() === method)) continue;
    if (otherwise === "refuse" || (otherwise === "refuse_write" && isWrite)) refused ??= { name, because };
    dropped.push(name);
  }
  return { forwarded: Object.assign(forwarded, fixedHeaders), dropped, refused };
}

/** Returns the names of all headers that are not forwarded, in lower case. */
export function droppedHeaders(sent: Headers, definition: ServiceDefinition): string[] {
  const { forwarded } = readRequestHeaders(sent, "", { ...definition, defaultHeaders: {} }, false);
  const { "user-agent": _, ...others } = forwarded;
  return [...sent.keys()].filter((name) => name !== "content-length" && !Object.hasOwn(others, name));
}

/** The preferences that the gateway itself answers to (RFC 7240 §4.1). No upstream gets them. */
const OWN_PREFERENCE = /^respond-async(?=$|[\s;=])/i;

/** Returns a `Prefer` without the gateway's own preferences. */
const withoutOwnPreferences = (value: string): string => {
  // A comma in a quoted string separates nothing (RFC 7240 §2).
  const preferences = value.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+/g) ?? [];
  const kept = preferences.filter((one) => !OWN_PREFERENCE.test(one.trim()));
  return kept.length === preferences.length ? value : kept.map((one) => one.trim()).join(", ");
};

/** A response header that lists names is not longer than this, in characters. */
const MAX_TOLD_LENGTH = 512;

/** Returns the value of `X-AgentAuth-Dropped`. The names that do not fit are replaced by `...`. */
export function toldHeaders(names: readonly string[]): string {
  let told = "";
  for (const name of names) {
    if (told.length + name.length > MAX_TOLD_LENGTH) return told === "" ? "..." : `${told}, ...`;
    told += told === "" ? name : `, ${name}`;
  }
  return told;
}

/** Returns a header as the upstream gets it: null if it is missing, or if `Connection` names it, which removes it (RFC 9110 §7.6.1). */
export const endToEndHeader = (headers: Headers, name: string): string | null =>
  connectionNamed(headers).includes(name) ? null : headers.get(name);

/** Returns the declared Content-Length in bytes, or undefined if there is none or it is not a number. */
export function contentLength(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Returns whether a request says that it has a body (RFC 9112 §6). A malformed length counts as one. */
export const declaresBody = (headers: SentHeaders): boolean =>
  headers.has("transfer-encoding") || !/^0*$/.test(headers.get("content-length") ?? "");

/** Returns the names that `Connection` lists, in lower case: these headers are for the next hop only (RFC 9110 §7.6.1). */
export function connectionNamed(headers: { get(name: string): string | null | undefined }): readonly string[] {
  const named = headers.get("connection");
  return named ? named.split(",").map((name) => name.trim().toLowerCase()) : [];
}
