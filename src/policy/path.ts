/** A path with one meaning: as it is matched, and as it is sent. */
export interface CanonicalPath {
  /** Percent-decoded segments. One holds a `/` only where the path said `%2F`. */
  readonly texts: readonly string[];
  /** Normalised after RFC 3986 §6.2.2: what the upstream's URL is built from. */
  readonly encoded: string;
}

export type PathFault =
  | "bad_encoding"
  | "double_encoding"
  | "backslash"
  | "control_character"
  | "empty_segment"
  | "dot_segment"
  | "lookalike_character"
  | "path_parameter"
  | "trailing_dot_or_space"
  | "encoded_slash"
  | "fragment"
  | "path_too_long";

const MAX_PATH_LENGTH = 8192;
/** Nothing in it is encoded, begins or ends with a dot, or is empty: most paths, which are canonical as they are. */
const PLAIN = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,=:@-]+)*)+$/;
const PCHAR = /^[A-Za-z0-9._~!$&'()*+,;=:@-]$/;
const UNRESERVED = /^[A-Za-z0-9._~-]$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
/**
 * Characters that a server which normalises (NFKC) or converts its paths to a smaller character set takes for a dot, a slash, a
 * back-slash or a percent sign.
 */
const LOOKALIKE = /[\u2024\u2025\u2044\u2215\u2216\u29f5\u29f8\ufe52\ufe68\ufe6a\uff05\uff0e\uff0f\uff3c]/;
const ENCODED_AGAIN = /%[0-9A-Fa-f]{2}/;

/**
 * The one meaning of a raw path (`/repos/octo/hello`), or why it has none.
 *
 * Everything that two parsers may read differently is refused instead of repaired: dot segments in any encoding,
 * double encoding, back-slashes, characters that look like dots and slashes, control characters, empty segments, `;` parameters, and segments that end in a dot or
 * a space, which some servers strip. `%2F` is kept for the rule to judge.
 */
export function canonicalPath(rawPath: string): CanonicalPath | PathFault {
  if (rawPath.length > MAX_PATH_LENGTH) return "path_too_long";
  if (rawPath === "" || rawPath === "/") return { texts: [], encoded: "/" };
  if (PLAIN.test(rawPath)) return { texts: rawPath.slice(1).split("/"), encoded: rawPath };
  if (!rawPath.startsWith("/")) return "empty_segment";
  const texts: string[] = [];
  let path = "";
  for (const raw of rawPath.slice(1).split("/")) {
    const encoded = normalise(raw);
    if (encoded === undefined) return "bad_encoding";
    let text: string;
    try {
      text = decodeURIComponent(encoded);
    } catch {
      return "bad_encoding";
    }
    const fault = faultIn(text);
    if (fault) return fault;
    texts.push(text);
    path += `/${encoded}`;
  }
  return { texts, encoded: path };
}

function faultIn(text: string): PathFault | undefined {
  if (CONTROL.test(text)) return "control_character";
  if (text.includes("\\")) return "backslash";
  if (text.includes(";")) return "path_parameter";
  if (LOOKALIKE.test(text)) return "lookalike_character";
  if (ENCODED_AGAIN.test(text)) return "double_encoding";
  for (const part of text.split("/")) {
    if (part === "") return "empty_segment";
    // A server that decodes before it parses ends the path at the `#` or the `?`.
    if (/^\.{1,2}(?:[?#]|$)/.test(part)) return "dot_segment";
    // Any white space: some servers fold the others to U+0020 before they trim.
    if (/[.\s]$/u.test(part)) return "trailing_dot_or_space";
  }
  return undefined;
}

/** Case and percent-encoding normalised; undefined where a `%` encodes nothing. */
function normalise(raw: string): string | undefined {
  let out = "";
  for (let i = 0; i < raw.length;) {
    const char = String.fromCodePoint(raw.codePointAt(i)!);
    if (char === "%") {
      const hex = raw.slice(i + 1, i + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return undefined;
      const decoded = String.fromCharCode(Number.parseInt(hex, 16));
      out += UNRESERVED.test(decoded) ? decoded : `%${hex.toUpperCase()}`;
      i += 3;
      continue;
    }
    if (PCHAR.test(char)) out += char;
    else if (/[\ud800-\udfff]/.test(char) && char.length === 1) return undefined;
    else out += encodeURIComponent(char);
    i += char.length;
  }
  return out;
}

/** The path and the query of a request's target, without a parser that would repair it. */
export function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf("?");
  return mark === -1 ? { path: target, query: "" } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
