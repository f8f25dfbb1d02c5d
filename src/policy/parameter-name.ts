/** Names to look for in a query, a form or JSON. */
export interface WatchedNames {
  /** By the name in lower case. */
  readonly exact: ReadonlyMap<string, string>;
  /** By the name's letters and digits in lower case: `access_token` is found under `accesstoken`. */
  readonly loose: ReadonlyMap<string, string>;
}

/**
 * Prepares names for `watchedNameIn`.
 *
 * @param names words of letters, digits, `_` and `-`, each with at least one letter or digit.
 */
export const watchNames = (names: readonly string[]): WatchedNames => ({
  exact: new Map(names.map((name) => [name.toLowerCase(), name])),
  loose: new Map(names.map((name) => [name.toLowerCase().replace(/[_-]/g, ""), name])),
});

/** A name of one ASCII word: no parser cuts it or replaces a character of it, but some compare without case. */
const WORD = /^[\w-]*$/;

/**
 * Returns the watched name that some parser could read a decoded parameter name as, or undefined if none could.
 *
 * Parsers disagree about everything but words. Rack drops brackets around the first part of a name (`[expand]`, `expand[0`), PHP drops
 * leading spaces, ends the name at NUL and turns dots, spaces and unclosed brackets into `_` (`access.token`), qs and ASP.NET read a
 * dot as a key below (`expand.0`), Spring treats `!expand` specially, and some compare without accents. So only letters and digits are
 * compared, of the whole name and of each beginning that another character ends. This finds more than any single parser reads;
 * `npm run differential` compares it with PHP and Rack.
 */
export function watchedNameIn(name: string, { exact, loose }: WatchedNames): string | undefined {
  if (exact.size === 0) return undefined;
  if (WORD.test(name)) return exact.get(name.toLowerCase());
  let beginning = "";
  // Case-folded in both directions: the dotless i and the long s have no lower case of their own in ASCII.
  for (const char of name.normalize("NFKD").toUpperCase().toLowerCase()) {
    if (/[a-z0-9]/.test(char)) {
      beginning += char;
    } else if (char !== "_" && char !== "-") {
      const found = loose.get(beginning);
      if (found !== undefined) return found;
    }
  }
  return loose.get(beginning);
}

/** Whether a decoded name is written so that every parser reads it as this one: `expand`, `expand[]` or `expand[0]`, in any case. */
export function isPlainSpelling(text: string, name: string): boolean {
  const base = /^([\w-]+)(?:\[\d{0,4}\])?$/.exec(text)?.[1];
  return base?.toLowerCase() === name;
}

/**
 * Decodes a percent-encoded parameter name (`+` is a space). Returns undefined if it is not UTF-8, is encoded twice, or contains a
 * control character.
 */
export function decodeName(raw: string): string | undefined {
  const text = WORD.test(raw) ? raw : decodeFormText(raw);
  return text === undefined || /[\u0000-\u001f\u007f-\u009f]|%[0-9A-Fa-f]{2}/.test(text) ? undefined : text;
}

/** Decodes a name or a value of a form or a query (`+` is a space). Returns undefined if it is not percent-encoded UTF-8. */
export function decodeFormText(raw: string): string | undefined {
  try {
    return decodeURIComponent(raw.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}
