/** A `Content-Type` that was parsed by the grammar of RFC 9110 §8.3.1. */
export interface MediaType {
  /** Lower case: `application/json`. */
  readonly type: string;
  /** Names in lower case, without quotes around the values. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const TYPE = new RegExp(`^(${TOKEN}/${TOKEN})((?:[ \\t]*;.*)?)$`);
/** A quoted value must not contain quotes or backslashes, which parsers unescape differently. */
const PARAMETER = new RegExp(
  `[ \\t]*;[ \\t]*(?:(${TOKEN})=(?:(${TOKEN})|"([^"\\\\\\x00-\\x1f\\x7f-\\uffff]*)"))?`,
  "y",
);

/** Parses a `Content-Type`. Returns undefined if it does not follow the grammar, repeats a parameter, or is a list of two types. */
export function parseMediaType(text: string): MediaType | undefined {
  const [, type, rest = ""] = TYPE.exec(text.replace(/^[ \t]+|[ \t]+$/g, "")) ?? [];
  if (type === undefined) return undefined;
  const parameters = new Map<string, string>();
  PARAMETER.lastIndex = 0;
  while (PARAMETER.lastIndex < rest.length) {
    const found = PARAMETER.exec(rest);
    if (!found) return undefined;
    const [, name, token, quoted] = found;
    if (name === undefined) continue;
    if (parameters.has(name.toLowerCase())) return undefined;
    parameters.set(name.toLowerCase(), token ?? quoted ?? "");
  }
  return { type: type.toLowerCase(), parameters };
}

/** Serializes a media type in normal form, so that the upstream reads what was parsed. */
export function formatMediaType({ type, parameters }: MediaType): string {
  const quote = (value: string) => (new RegExp(`^${TOKEN}$`).test(value) ? value : `"${value}"`);
  return [type, ...[...parameters].map(([name, value]) => `${name}=${quote(value)}`)].join("; ");
}

/** Returns whether the charset is UTF-8, which is the default. */
export const isUtf8 = ({ parameters }: MediaType): boolean =>
  /^(?:utf-?8|us-ascii)$/i.test(parameters.get("charset") ?? "utf-8");
