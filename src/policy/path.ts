/** A path that every server reads alike. */
export interface CanonicalPath {
  /** The percent-decoded segments, which rules match. A segment contains a `/` only if the path has `%2F` there. */
  readonly texts: readonly string[];
  /** Whether the path ends in a slash, which is not among the segments. */
  readonly slash: boolean;
  /** The path as it is fetched, normalized by RFC 3986 §6.2.2, with its slash at the end if it has one. */
  readonly encoded: string;
}

/** Why a path is refused. */
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
/** Matches most paths, which are canonical already: no segment is encoded, begins or ends with a dot, or is empty. */
const PLAIN = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,=:@-]+)*)+\/?$/;
const PCHAR = /^[A-Za-z0-9._~!$&'()*+,;=:@-]$/;
const UNRESERVED = /^[A-Za-z0-9._~-]$/;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
/**
 * Characters that become a dot segment, a slash, a back-slash or a percent sign on a server that normalizes its paths (NFKC) or converts
 * them to a smaller character set; and U+037E, which every normalization makes a semicolon.
 */
const LOOKALIKE =
  /[\u037e\u2024\u2025\u2044\u2100\u2101\u2105\u2106\u2215\u2216\u29f5\u29f8\ufe30\ufe52\ufe68\ufe6a\uff05\uff0e\uff0f\uff3c]/;
const ENCODED_AGAIN = /%[0-9A-Fa-f]{2}/;

/**
 * Returns the canonical form of a raw path (`/repos/octo/hello`), or why the path is refused.
 *
 * Whatever two parsers may read differently is refused and not repaired: dot segments in any encoding, double encoding, back-slashes,
 * characters that look like dots and slashes, control characters, empty segments, `;` parameters, and segments that end in a dot or a
 * space, which some servers strip. `%2F` and one slash at the end are kept: whether they are allowed depends on the rule.
 */
export function canonicalPath(rawPath: string): CanonicalPath | PathFault {
  if (rawPath.length > MAX_PATH_LENGTH) return "path_too_long";
  const slash = rawPath.endsWith("/");
  if (rawPath === "" || rawPath === "/") return { texts: [], slash, encoded: "/" };
  const segments = rawPath.slice(1, slash ? -1 : undefined).split("/");
  if (PLAIN.test(rawPath)) return { texts: segments, slash, encoded: rawPath };
  if (!rawPath.startsWith("/")) return "empty_segment";
  const texts: string[] = [];
  let path = "";
  for (const raw of segments) {
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
  return { texts, slash, encoded: slash ? `${path}/` : path };
}

function faultIn(text: string): PathFault | undefined {
  if (CONTROL.test(text)) return "control_character";
  if (text.includes("\\")) return "backslash";
  if (text.includes(";")) return "path_parameter";
  if (LOOKALIKE.test(text)) return "lookalike_character";
  if (ENCODED_AGAIN.test(text)) return "double_encoding";
  if (text === "" || /.\/(?:\/|$)|^\/\//.test(text)) return "empty_segment";
  for (const part of text.split("/")) {
    // A server that decodes before it parses ends the path at the `#` or the `?`.
    if (/^\.{1,2}(?:[?#]|$)/.test(part)) return "dot_segment";
    // Any white space: some servers fold the others to U+0020 before they trim.
    if (/[.\s]$/u.test(part)) return "trailing_dot_or_space";
  }
  return undefined;
}

/** Normalizes the percent-encoding of a segment. Returns undefined if a `%` encodes nothing. */
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

/** Splits a request's target into its path and its query (without `?`). No URL parser is used, because it would repair the path. */
export function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf("?");
  return mark === -1 ? { path: target, query: "" } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
