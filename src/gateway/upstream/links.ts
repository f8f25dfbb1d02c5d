import type { BodyLinks } from "../../policy/body-links.ts";
import { isElsewhere, locateMember, resolveLink, serviceUrls, type LinkScope } from "./upstream-link.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;

/** The longest string, in bytes, that is buffered until it is complete. A longer string is not a key that matters, and not a link that is passed on. */
const MAX_STRING_BYTES = 16 * 1024;

/** How deep objects and arrays are searched. JSON parsers have such limits too, and memory stays flat. */
const MAX_DEPTH = 1024;

/**
 * Replaces a link that the agent must not get. No client can fetch it, so following it fails. With null, a client would assume that there
 * is no further page.
 */
const NO_LINK = encoder.encode('"about:invalid"');

export interface LinkRewriter {
  /** Returns the bytes to pass on after the next chunk: slices of it, and rewritten links. */
  push(chunk: Uint8Array): Uint8Array[];
  /** Returns the buffered bytes if the response ended in the middle of a string. */
  rest(): Uint8Array;
}

/** What the value of a member is, by its place. */
type Kind =
  /** Not looked at. */
  | 0
  /** A link: whatever else it is, is not passed on. */
  | typeof POINTED
  /** Perhaps a link: changed only if it leads to the API. */
  | typeof NAMED
  /** Perhaps a link, which must not lead to another host. */
  | typeof REMOVED;
const POINTED = 1;
const NAMED = 2;
const REMOVED = 3;

/**
 * Returns a rewriter of the links in a JSON answer that arrives in chunks. Every other byte stays as it is, and so do the bytes of a link
 * behind the API's base URL if no parser reads them differently.
 *
 * It buffers at most one key or one link, so that an answer of any size can be streamed.
 *
 * - What a pointer names is replaced by what {@link resolveLink} returns. If it returns undefined, or the string is malformed or longer than a
 *   link may be, `about:invalid` replaces it. Pointers lead through objects only.
 * - What has a name of `rewritten` is replaced if it leads to the API; URI templates (RFC 6570) too. Links to other hosts stay.
 * - What has a name of `removed` and leads to another host becomes `about:invalid#agentauth-removed=HOST`.
 */
export function linkRewriter(links: BodyLinks, scope: LinkScope): LinkRewriter {
  const { pointers, deepest, names, removed, mayMatch } = matcherOf(links);
  const resolver = linkResolver(scope);
  /** For each depth: whether it is an object. */
  const objects: boolean[] = [false];
  /** For each depth down to the deepest of a pointer: the pointer of the member that is being read. */
  const places: (string | undefined)[] = [""];
  const hasNames = names.length + removed.length > 0;
  let depth = 0;
  let keyNext = false;
  let kind: Kind = 0;
  let inText = false;
  let escaped = false;
  /** Whether the string that is being read matters. */
  let wanted = false;
  /** The beginning of a string that matters, if the last chunk ended in it. */
  let held: Uint8Array | undefined;
  /** Whether the rest of a string is dropped, because it has been replaced already. */
  let skipping = false;

  const leadsToPointer = (): boolean => depth <= deepest && places[depth - 1] !== undefined;

  function kindOfMember(key: Uint8Array): Kind {
    const isShort = key.length <= MAX_STRING_BYTES;
    if (leadsToPointer()) {
      const name = isShort ? parse(key) : undefined;
      const place =
        name === undefined ? undefined : `${places[depth - 1]}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      places[depth] = place;
      if (place !== undefined && pointers.has(place)) return POINTED;
    }
    if (!hasNames || !isShort || !mayMatch(key)) return 0;
    const name = parse(key);
    if (name === undefined) return 0;
    if (removed.some((pattern) => pattern(name))) return REMOVED;
    return names.some((pattern) => pattern(name)) ? NAMED : 0;
  }

  return {
    push(chunk) {
      const bytes = held ? joined(held, chunk) : chunk;
      const passed: Uint8Array[] = [];
      let sent = 0;
      let at = held?.length ?? 0;
      /** Where the string that is being read begins, if it matters. */
      let start = 0;
      held = undefined;
      const replace = (from: number, to: number, link: Uint8Array): void => {
        if (from > sent) passed.push(bytes.subarray(sent, from));
        passed.push(link);
        sent = to;
      };
      for (; at < bytes.length; at++) {
        const byte = bytes[at]!;
        if (!inText) {
          if (byte === QUOTE) {
            inText = true;
            start = at;
            wanted = keyNext ? hasNames || leadsToPointer() : kind !== 0;
          } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
            keyNext = byte === OPEN_OBJECT && depth < MAX_DEPTH;
            kind = 0;
            if (++depth > MAX_DEPTH) continue;
            objects[depth] = keyNext;
            if (depth <= deepest) places[depth] = undefined;
          } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
            depth = Math.max(0, depth - 1);
            keyNext = false;
            kind = 0;
          } else if (byte === COMMA) {
            keyNext = depth <= MAX_DEPTH && objects[depth] === true;
            kind = 0;
          }
          continue;
        }
        if (escaped) {
          escaped = false;
          continue;
        }
        if (byte === BACKSLASH) {
          escaped = true;
          continue;
        }
        if (byte !== QUOTE) continue;
        const end = at + 1;
        if (skipping) sent = end;
        else if (wanted && keyNext) kind = kindOfMember(bytes.subarray(start, end));
        else if (wanted) replaceLink({ bytes, start, end }, kind, resolver, replace);
        inText = keyNext = skipping = wanted = false;
      }
      if (inText && wanted) {
        if (bytes.length - start <= MAX_STRING_BYTES) {
          if (start > sent) passed.push(bytes.subarray(sent, start));
          held = bytes.slice(start);
          return passed;
        }
        // Too long: a key has no meaning then, and a link is replaced before its end has arrived.
        wanted = false;
        if (keyNext) kind = kindOfMember(bytes.subarray(start));
        else if (kind === POINTED || mayBeLongLink(bytes, start)) {
          replace(start, bytes.length, NO_LINK);
          skipping = true;
        }
      }
      if (skipping) sent = bytes.length;
      if (sent < bytes.length) passed.push(sent === 0 ? bytes : bytes.subarray(sent));
      return passed;
    },
    rest: () => held ?? new Uint8Array(),
  };
}

type Pattern = (name: string) => boolean;

interface Matcher {
  readonly pointers: ReadonlySet<string>;
  /** The depth of the deepest pointer's member. */
  readonly deepest: number;
  readonly names: readonly Pattern[];
  readonly removed: readonly Pattern[];
  /** Whether a key, with its quotes, can have one of the names. Most cannot, and are not decoded. */
  readonly mayMatch: (key: Uint8Array) => boolean;
}

const matchers = new WeakMap<BodyLinks, Matcher>();

function matcherOf(links: BodyLinks): Matcher {
  let matcher = matchers.get(links);
  if (!matcher) matchers.set(links, (matcher = createMatcher(links)));
  return matcher;
}

function createMatcher({ rewritten, removed }: BodyLinks): Matcher {
  const pointers = rewritten.filter((place) => place.startsWith("/"));
  const names = rewritten.filter((place) => !place.startsWith("/"));
  /** The bytes with which a name can begin, or end; all of them after the `*` of a pattern. */
  const first = new Uint8Array(256);
  const last = new Uint8Array(256);
  for (const name of [...names, ...removed]) {
    if (name.startsWith("*")) first.fill(1);
    if (name.endsWith("*")) last.fill(1);
    first[name.charCodeAt(0)] = last[name.charCodeAt(name.length - 1)] = 1;
  }
  return {
    pointers: new Set(pointers),
    deepest: Math.max(0, ...pointers.map((pointer) => pointer.split("/").length - 1)),
    names: names.map(toPattern),
    removed: removed.map(toPattern),
    mayMatch: (key) => (first[key[1]!] === 1 && last[key[key.length - 2]!] === 1) || key.includes(BACKSLASH),
  };
}

function toPattern(pattern: string): Pattern {
  if (pattern.startsWith("*")) return (name) => name.endsWith(pattern.slice(1));
  if (pattern.endsWith("*")) return (name) => name.startsWith(pattern.slice(0, -1));
  return (name) => name === pattern;
}

/** What links are compared with, as bytes behind the quote that begins a string. */
interface Resolver {
  readonly scope: LinkScope;
  /** The API's base URL. */
  readonly base: Uint8Array;
  /** The same at the gateway. */
  readonly proxied: Uint8Array;
  /** For each `https://host` that was seen: whether it is neither the API's nor the gateway's. */
  readonly elsewhere: Map<string, boolean>;
}

function linkResolver(scope: LinkScope): Resolver {
  const { base, proxied } = serviceUrls(scope);
  return { scope, base: encoder.encode(`"${base}`), proxied: encoder.encode(`"${proxied}`), elsewhere: new Map() };
}

/** A string in a chunk, with its quotes. */
interface Text {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

type Replace = (from: number, to: number, link: Uint8Array) => void;

function replaceLink(text: Text, kind: Kind, resolver: Resolver, replace: Replace): void {
  const { bytes, start, end } = text;
  const { base, proxied, scope } = resolver;
  if (end - start > MAX_STRING_BYTES) {
    if (kind === POINTED || mayBeLongLink(bytes, start)) replace(start, end, NO_LINK);
    return;
  }
  if (startsWith(text, base) && isPlain(bytes, start + base.length, end - 1)) {
    replace(start, start + base.length, proxied);
    return;
  }
  if (kind === NAMED && isPlainlyElsewhere(text, resolver)) return;
  const value = parse(bytes.subarray(start, end));
  // Some APIs write an empty string if there is no link.
  if (value === "") return;
  const link = value === undefined ? undefined : linkInstead(value, kind, scope);
  if (value !== undefined && link === value) return;
  replace(start, end, link === undefined ? NO_LINK : encoder.encode(JSON.stringify(link)));
}

/** Returns the link that replaces one, the same text if it stays, or undefined if there is none. */
function linkInstead(text: string, kind: Kind, scope: LinkScope): string | undefined {
  if (kind === POINTED) return resolveLink(text, scope);
  const target = locateMember(text, scope);
  if (target === undefined) return undefined;
  if (target.place === "service") return target.link;
  return target.place === "elsewhere" && kind === REMOVED ? `about:invalid#agentauth-removed=${target.host}` : text;
}

const SLASH = 0x2f;
const DOT = 0x2e;
const QUESTION_MARK = 0x3f;
const EXPRESSION = OPEN_OBJECT;

/** Bytes that every parser reads alike in a segment of a path. */
const IN_SEGMENT = tableOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$&()*+,=:@-");
/** And in a query. */
const IN_QUERY = tableOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$&()*+,=:@-./?%");
/** And in an expression of a URI template. */
const IN_EXPRESSION = tableOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_,*/?&");

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const character of characters) table[character.charCodeAt(0)] = 1;
  return table;
}

const MAX_PLAIN_LENGTH = 2048;

/**
 * Returns whether what follows the base URL is a path, and perhaps a query and expressions of a URI template, in which no parser would
 * change anything. It then stays as it is. Most links are like this, and are not parsed.
 */
function isPlain(bytes: Uint8Array, from: number, end: number): boolean {
  if (from >= end || bytes[from] !== SLASH || end - from > MAX_PLAIN_LENGTH) return false;
  let isQuery = false;
  /** Whether a segment or an expression may end here. */
  let isComplete = false;
  for (let at = from; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === EXPRESSION) {
      if (bytes[at - 1] === DOT) return false;
      const first = at + 1;
      while (++at < end && IN_EXPRESSION[bytes[at]!] === 1);
      if (at === first || bytes[at] !== CLOSE_OBJECT || at >= end) return false;
      isComplete = true;
    } else if (isQuery) {
      if (IN_QUERY[byte] !== 1) return false;
    } else if (IN_SEGMENT[byte] === 1) {
      isComplete = true;
    } else if (byte === SLASH || byte === DOT) {
      if (!isComplete && at > from) return false;
      isComplete = false;
    } else if (byte === QUESTION_MARK) {
      if (!isComplete) return false;
      isQuery = true;
    } else return false;
  }
  return isComplete;
}

const COLON = 0x3a;
const IN_AUTHORITY = tableOf("abcdefghijklmnopqrstuvwxyz0123456789-.:");
const MAX_AUTHORITY = 100;
const MAX_REMEMBERED = 64;
const SCHEMES = ['"https://', '"http://'].map((text) => encoder.encode(text));

/**
 * Returns whether a link begins with a host, in plain spelling, that is neither the API's nor the gateway's. What follows is not
 * looked at. An answer names few hosts, so they are parsed once.
 */
function isPlainlyElsewhere(text: Text, { scope, elsewhere }: Resolver): boolean {
  const { bytes, start, end } = text;
  const scheme = SCHEMES.find((one) => startsWith(text, one));
  if (!scheme) return false;
  const from = start + scheme.length;
  let at = from;
  while (at < end && IN_AUTHORITY[bytes[at]!] === 1) at++;
  const next = bytes[at];
  if (at === from || at - from > MAX_AUTHORITY || (next !== SLASH && next !== QUESTION_MARK && next !== QUOTE))
    return false;
  const origin = String.fromCharCode(...bytes.subarray(start + 1, at));
  let known = elsewhere.get(origin);
  if (known === undefined) {
    if (elsewhere.size === MAX_REMEMBERED) elsewhere.clear();
    elsewhere.set(origin, (known = isElsewhere(origin, scope)));
  }
  return known;
}

/** Returns whether a text that is too long for a link may be one: it does not begin with another scheme than http(s), such as `data:`. */
function mayBeLongLink(bytes: Uint8Array, start: number): boolean {
  let at = start + 1;
  while (IN_AUTHORITY[bytes[at]!] === 1 && bytes[at] !== COLON) at++;
  const scheme = String.fromCharCode(...bytes.subarray(start + 1, Math.min(at, start + MAX_AUTHORITY)));
  return bytes[at] !== COLON || at === start + 1 || /^https?$/.test(scheme);
}

function startsWith({ bytes, start }: Text, beginning: Uint8Array): boolean {
  for (let at = 0; at < beginning.length; at++) if (bytes[start + at] !== beginning[at]) return false;
  return true;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

/** Returns the value of a JSON string, or undefined if it is malformed. */
function parse(bytes: Uint8Array): string | undefined {
  try {
    return String(JSON.parse(decoder.decode(bytes)));
  } catch {
    return undefined;
  }
}
