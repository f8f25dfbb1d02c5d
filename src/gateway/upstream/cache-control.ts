/** The upstream's directives that are passed on, with or without a number of seconds. All others are for shared caches. */
const KEPT = new Set(["no-cache", "no-store", "no-transform", "must-revalidate", "must-understand", "immutable"]);
const KEPT_SECONDS = new Set(["max-age", "stale-while-revalidate", "stale-if-error"]);

/** `token [ "=" ( token / quoted-string ) ]` (RFC 9111 §5.2), with the white space around `=` that some parsers skip. */
const DIRECTIVE =
  /[ \t]*(?:([!#$%&'*+.^_`|~\w-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w-]+)))?[ \t]*)?(?:,|$)/y;

/** The last value and what it became. The answers of an upstream mostly have the same. */
let last = { value: "", result: "" };

/**
 * Returns the `Cache-Control` of an answer that belongs to one agent: always `private`, without what speaks to shared caches
 * (`public`, `s-maxage`, `proxy-revalidate`, extensions). What does not follow the grammar becomes `private, no-store`.
 *
 * @param value the upstream's; an answer without one is `private, no-cache`.
 */
export function privateCacheControl(value: string | null): string {
  if (!value) return "private, no-cache";
  if (value !== last.value) last = { value, result: readDirectives(value) };
  return last.result;
}

function readDirectives(value: string): string {
  const directives = new Set(["private"]);
  for (let at = 0; at < value.length; at = DIRECTIVE.lastIndex) {
    DIRECTIVE.lastIndex = at;
    const match = DIRECTIVE.exec(value);
    if (!match) return "private, no-store";
    const name = match[1]?.toLowerCase() ?? "";
    const argument = match[2] ?? match[3];
    // With field names, `no-cache` is about these alone; without them it is about all, which is safe.
    if (KEPT.has(name)) directives.add(name);
    if (KEPT_SECONDS.has(name)) directives.add(`${name}=${/^\d{1,10}$/.test(argument ?? "") ? argument : 0}`);
  }
  return [...directives].join(", ");
}
