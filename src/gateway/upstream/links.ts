import type { BodyLinks } from "../../policy/body-links.ts";
import { isElsewhere, locateMember, resolveLink, serviceUrls, type LinkScope } from "./upstream-link.ts";
import { concatenate } from "../../memory/concatenate.ts";

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
  /** Returns the bytes to pass on after the next chunk: the chunk itself, a slice of it, or a copy with other links. */
  push(chunk: Uint8Array): Uint8Array;
  /** Returns the buffered bytes if the response ended in the middle of a string. */
  rest(): Uint8Array;
  /** Returns the bytes to pass on of an answer that has arrived whole: the answer itself, or a copy with other links. */
  whole(answer: Uint8Array): Uint8Array;
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
  const matcher = matcherOf(links);
  const { pointers, deepest, hasNames } = matcher;
  const resolver = linkResolver(scope);
  /** For each depth: whether it is an object. */
  const objects: boolean[] = [false];
  /** For each depth down to the deepest of a pointer: the pointer of the member that is being read. */
  const places: (string | undefined)[] = [""];
  let depth = 0;
  let keyNext = false;
  let kind: Kind = 0;
  let inText = false;
  let escaped = false;
  /** Whether the string that is being read matters. */
  let wanted = false;
  /** The beginning of a string that matters, if the last chunk ended in it. */
  let held: Uint8Array | undefined;
  /** Whether that has an escape. */
  let isEscaped = false;
  /** Whether the rest of a string is dropped, because it has been replaced already. */
  let skipping = false;

  const leadsToPointer = (): boolean => depth <= deepest && places[depth - 1] !== undefined;

  function kindOfMember(key: Text): Kind {
    const isShort = key.end - key.start <= MAX_STRING_BYTES;
    if (leadsToPointer()) {
      const name = isShort && mayLeadToPointer(key, matcher) ? parse(key) : undefined;
      const place =
        name === undefined ? undefined : `${places[depth - 1]}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      places[depth] = place;
      if (place !== undefined && pointers.has(place)) return POINTED;
    }
    return hasNames && isShort ? kindOfName(key, matcher) : 0;
  }

  const rewriter: LinkRewriter = {
    push(chunk) {
      const bytes = held ? concatenate([held, chunk]) : chunk;
      const { length } = bytes;
      const spans: Span[] = [];
      let sent = 0;
      /** The string that is being read, if it matters. */
      const text: Text = { bytes, start: 0, end: length, isEscaped };
      let at = held?.length ?? 0;
      held = undefined;
      const replace = (from: number, to: number, link: Uint8Array): void => {
        spans.push({ from: sent, to: from, link });
        sent = to;
      };
      for (; at < length; at++) {
        let byte = bytes[at]!;
        if (!inText) {
          if (byte === QUOTE) {
            inText = true;
            text.start = at;
            text.isEscaped = false;
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
        // Most bytes are inside of strings: this loop is where the time goes.
        while (byte !== QUOTE && byte !== BACKSLASH && ++at < length) byte = bytes[at]!;
        if (at === length) break;
        if (byte === BACKSLASH) {
          escaped = text.isEscaped = true;
          continue;
        }
        text.end = at + 1;
        if (skipping) sent = text.end;
        else if (wanted && keyNext) kind = kindOfMember(text);
        else if (wanted) replaceLink(text, kind, resolver, replace);
        inText = keyNext = skipping = wanted = false;
      }
      if (inText && wanted) {
        const { start } = text;
        if (length - start <= MAX_STRING_BYTES) {
          held = bytes.slice(start);
          isEscaped = text.isEscaped;
          return assemble(bytes, spans, sent, start);
        }
        // Too long: a key has no meaning then, and a link is replaced before its end has arrived.
        text.end = length;
        wanted = false;
        if (keyNext) kind = kindOfMember(text);
        else if (kind === POINTED || mayBeLongLink(text)) {
          replace(start, length, NO_LINK);
          skipping = true;
        }
      }
      return assemble(bytes, spans, skipping ? length : sent, length);
    },
    rest: () => held ?? new Uint8Array(),
    whole: (answer) => (mayHaveLinks(answer, matcher) ? concatenate([rewriter.push(answer), rewriter.rest()]) : answer),
  };
  return rewriter;
}

/** A string in a chunk, with its quotes. */
interface Text {
  readonly bytes: Uint8Array;
  start: number;
  end: number;
  /** Whether it has an escape. */
  isEscaped: boolean;
}

/** Bytes of a chunk that are passed on, and the link behind them. */
interface Span {
  readonly from: number;
  readonly to: number;
  readonly link: Uint8Array;
}

/** Returns the spans with their links, and then the bytes from `rest` to `end`. Without spans nothing is copied. */
function assemble(bytes: Uint8Array, spans: readonly Span[], rest: number, end: number): Uint8Array {
  if (spans.length === 0) return bytes.subarray(rest, end);
  let length = end - rest;
  for (const { from, to, link } of spans) length += to - from + link.length;
  const assembled = new Uint8Array(length);
  let at = 0;
  for (const { from, to, link } of spans) {
    copy(bytes, from, to, assembled, at);
    at += to - from;
    copy(link, 0, link.length, assembled, at);
    at += link.length;
  }
  copy(bytes, rest, end, assembled, at);
  return assembled;
}

/** Fewer bytes than these are copied one by one: the runtime's own copying has to be asked for, which takes longer. */
const MIN_COPIED_AT_ONCE = 256;

function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start >= MIN_COPIED_AT_ONCE) to.set(from.subarray(start, end), at);
  else for (let index = start; index < end; index++) to[at + index - start] = from[index]!;
}

/** A name, or its beginning or its end. */
interface Pattern {
  readonly kind: typeof NAMED | typeof REMOVED;
  readonly bytes: Uint8Array;
  readonly isBeginning: boolean;
  readonly isEnd: boolean;
}

interface Matcher {
  /** Matches an answer that may have a link: a part of a name, or the last segment of a pointer. Undefined if that can be anything. */
  readonly words: RegExp | undefined;
  readonly pointers: ReadonlySet<string>;
  /** The depth of the deepest pointer's member. */
  readonly deepest: number;
  /** For the last byte of a key: 1 if a pointer has such a segment. */
  readonly lastOfSegments: Uint8Array;
  readonly hasNames: boolean;
  /** For the last byte of a name: the patterns that it can match, the removed ones first. Most keys match none. */
  readonly byLast: readonly (readonly Pattern[] | undefined)[];
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
  const patterns = [...removed.map((name) => toPattern(name, REMOVED)), ...names.map((name) => toPattern(name, NAMED))];
  const lastOfSegments = new Uint8Array(256);
  for (const segment of pointers.flatMap((pointer) => pointer.split("/"))) {
    // A `/` or a `~` in a segment is written as `~1` and `~0`; an empty key ends in its quote.
    const last = encoder.encode(`"${segment.replaceAll("~1", "/").replaceAll("~0", "~")}`).at(-1)!;
    lastOfSegments[last] = 1;
  }
  const segments = pointers.map((pointer) => pointer.slice(pointer.lastIndexOf("/") + 1));
  const words = [...new Set([...removed, ...names, ...segments].map((name) => name.replace("*", "")))];
  return {
    words: words.every((word) => /^\w+$/.test(word)) ? new RegExp([ESCAPED, ...words].join("|")) : undefined,
    lastOfSegments,
    pointers: new Set(pointers),
    deepest: Math.max(0, ...pointers.map((pointer) => pointer.split("/").length - 1)),
    hasNames: patterns.length > 0,
    byLast: Array.from({ length: 256 }, (_, last) => {
      const matching = patterns.filter(({ bytes, isEnd }) => !isEnd || bytes.at(-1) === last);
      return matching.length > 0 ? matching : undefined;
    }),
  };
}

function toPattern(name: string, kind: Pattern["kind"]): Pattern {
  const bytes = encoder.encode(name.replace("*", ""));
  return { kind, bytes, isBeginning: !name.startsWith("*"), isEnd: !name.endsWith("*") };
}

/** The beginning of an escape of an ASCII character. */
const ESCAPED = "\\\\u00";

/** How much of an answer is looked at first, in bytes. An API that has such names has them from the beginning. One that is shorter is read at once. */
const FIRST_LOOK = 1024;

/**
 * Returns whether an answer may have a link that is looked at. Many have none, and the runtime finds that out in a fifth of the time that
 * reading the JSON takes.
 *
 * JSON writes the characters of these words as they are or as `\u00XX` (RFC 8259 §7), so an answer with neither has no such key.
 */
function mayHaveLinks(answer: Uint8Array, { words }: Matcher): boolean {
  if (!words || answer.length <= FIRST_LOOK) return true;
  const isIn = (bytes: Uint8Array): boolean => words.test(decoder.decode(bytes));
  return isIn(answer.subarray(0, FIRST_LOOK)) || isIn(answer);
}

/** Returns whether a key can be a segment of a pointer. Most cannot, and are not decoded. */
const mayLeadToPointer = (key: Text, { lastOfSegments }: Matcher): boolean =>
  lastOfSegments[key.bytes[key.end - 2]!] === 1 || key.isEscaped;

/** Returns what the value of a member with this name is. */
function kindOfName(key: Text, { byLast }: Matcher): Kind {
  if (!key.isEscaped) return kindOfPlainName(key, byLast);
  const name = parse(key);
  if (name === undefined) return 0;
  const bytes = encoder.encode(`"${name}"`);
  return kindOfPlainName({ bytes, start: 0, end: bytes.length, isEscaped: false }, byLast);
}

function kindOfPlainName({ bytes, start, end }: Text, byLast: Matcher["byLast"]): Kind {
  const patterns = byLast[bytes[end - 2]!];
  if (patterns === undefined) return 0;
  const length = end - start - 2;
  for (const { kind, bytes: wanted, isBeginning, isEnd } of patterns) {
    if (length < wanted.length || (isBeginning && isEnd && length !== wanted.length)) continue;
    const from = isBeginning ? start + 1 : end - 1 - wanted.length;
    let at = 0;
    while (at < wanted.length && bytes[from + at] === wanted[at]) at++;
    if (at === wanted.length) return kind;
  }
  return 0;
}

/** What links are compared with, as bytes behind the quote that begins a string. */
interface Resolver {
  readonly scope: LinkScope;
  /** The API's base URL. */
  readonly base: Uint8Array;
  /** The same at the gateway. */
  readonly proxied: Uint8Array;
  /** Each `"https://host` that was seen and is neither the API's nor the gateway's. */
  readonly elsewhere: Uint8Array[];
}

type KnownHosts = Omit<Resolver, "scope">;

/** What is known of the API and of other hosts, from one answer to the next. An answer that is short would learn it for itself only. */
const knownHosts = new Map<string, KnownHosts>();
const MAX_KNOWN = 100;

function linkResolver(scope: LinkScope): Resolver {
  const { base, proxied } = serviceUrls(scope);
  // All that decides whether a host is elsewhere.
  const key = `${base}\n${proxied}\n${scope.issuer}`;
  let known = knownHosts.get(key);
  if (!known) {
    known = { base: encoder.encode(`"${base}`), proxied: encoder.encode(`"${proxied}`), elsewhere: [] };
    if (knownHosts.size < MAX_KNOWN) knownHosts.set(key, known);
  }
  return { scope, ...known };
}

type Replace = (from: number, to: number, link: Uint8Array) => void;

function replaceLink(text: Text, kind: Kind, resolver: Resolver, replace: Replace): void {
  const { bytes, start, end } = text;
  const { base, proxied, scope } = resolver;
  if (end - start > MAX_STRING_BYTES) {
    if (kind === POINTED || mayBeLongLink(text)) replace(start, end, NO_LINK);
    return;
  }
  if (startsWith(text, base) && isPlain(bytes, start + base.length, end - 1)) {
    replace(start, start + base.length, proxied);
    return;
  }
  if (kind === NAMED && isPlainlyElsewhere(text, resolver)) return;
  const value = parse(text);
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
  if (target?.place === "elsewhere" && kind === REMOVED) return `about:invalid#agentauth-removed=${target.host}`;
  return target?.place === "other" ? text : target?.link;
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
const MAX_REMEMBERED = 8;
const SCHEMES = ['"https://', '"http://'].map((text) => encoder.encode(text));

/**
 * Returns whether a link begins with a host, in plain spelling, that is neither the API's nor the gateway's. What follows is not
 * looked at. An answer names few hosts, so they are parsed once.
 */
function isPlainlyElsewhere(text: Text, { scope, elsewhere }: Resolver): boolean {
  for (const origin of elsewhere)
    if (startsWith(text, origin) && endsAuthority(text, text.start + origin.length)) return true;
  const scheme = SCHEMES.find((one) => startsWith(text, one));
  if (!scheme) return false;
  const { bytes, start, end } = text;
  const from = start + scheme.length;
  let at = from;
  while (at < end && IN_AUTHORITY[bytes[at]!] === 1) at++;
  if (at === from || at - from > MAX_AUTHORITY || !endsAuthority(text, at)) return false;
  if (!isElsewhere(decoder.decode(bytes.subarray(start + 1, at)), scope)) return false;
  if (elsewhere.length < MAX_REMEMBERED) elsewhere.push(bytes.slice(start, at));
  return true;
}

function endsAuthority({ bytes, end }: Text, at: number): boolean {
  return bytes[at] === SLASH || bytes[at] === QUESTION_MARK || at === end - 1;
}

/** Returns whether a text that is too long for a link may be one: it does not begin with another scheme than http(s), such as `data:`. */
function mayBeLongLink({ bytes, start }: Text): boolean {
  let at = start + 1;
  while (IN_AUTHORITY[bytes[at]!] === 1 && bytes[at] !== COLON) at++;
  const scheme = decoder.decode(bytes.subarray(start + 1, at));
  return bytes[at] !== COLON || at === start + 1 || /^https?$/.test(scheme);
}

function startsWith({ bytes, start }: Text, beginning: Uint8Array): boolean {
  for (let at = 0; at < beginning.length; at++) if (bytes[start + at] !== beginning[at]) return false;
  return true;
}

/** Returns the value of a JSON string, or undefined if it is malformed. */
function parse({ bytes, start, end }: Text): string | undefined {
  try {
    return String(JSON.parse(decoder.decode(bytes.subarray(start, end))));
  } catch {
    return undefined;
  }
}
