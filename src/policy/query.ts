import { decodeName, isPlainSpelling, watchedNameIn, type WatchedNames } from "./parameter-name.ts";

export interface QueryFault {
  readonly code: "parameter_refused" | "bad_query";
  readonly parameter: string;
}

/** What a query adds to the permissions that a request needs. */
export interface ParsedQuery {
  /** The permissions for the resources that the answer embeds; null if a value is unknown, which makes the request uncovered. */
  readonly embedded: readonly string[] | null;
}

type Embeds = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

const NOTHING: ParsedQuery = { embedded: [] };

/**
 * Decides whether a query may be forwarded unchanged, and which permissions it adds.
 *
 * Names are compared as the most lenient upstream would read them (`watchedNameIn`). An embedding
 * parameter must be spelled so that every upstream reads it alike; all its occurrences count, whichever of them the upstream uses.
 *
 * @param watched the names that are refused, and those of `embeds`.
 * @returns `bad_query` for a name that parsers read differently, `parameter_refused` for one that is refused in every query.
 */
export function parseQuery(query: string, watched: WatchedNames, embeds: Embeds): ParsedQuery | QueryFault {
  if (query === "") return NOTHING;
  const embedded: string[] = [];
  let unknown = false;
  for (const pair of pairsOf(query)) {
    const end = pair.indexOf("=");
    const text = decodeName(end === -1 ? pair : pair.slice(0, end));
    if (text === undefined) return { code: "bad_query", parameter: pair.slice(0, 40) };
    const name = watchedNameIn(text, watched);
    if (name === undefined) continue;
    const values = embeds.get(name);
    if (!values) return { code: "parameter_refused", parameter: name };
    if (!isPlainSpelling(text, name)) return { code: "bad_query", parameter: text.slice(0, 40) };
    if (end === -1) continue;
    const value = decodeName(pair.slice(end + 1));
    if (value === undefined) return { code: "bad_query", parameter: name };
    const plain = values.get("*");
    for (const untrimmed of value.split(plain ? "," : /[,.]/)) {
      const part = untrimmed.trim();
      const needs = part === "" ? [] : (values.get(part) ?? (/^\w+$/.test(part) ? plain : undefined));
      if (needs) embedded.push(...needs);
      else unknown = true;
    }
  }
  return { embedded: unknown ? null : embedded };
}

/**
 * The pairs of a query. Some parsers separate by `;` too and others do not: `a;b=c` is `a` and `b=c` to Rack 2, and a parameter called
 * `a;b` to PHP, which reads `expand[0];=x` as `expand`. Both readings count.
 */
function pairsOf(query: string): readonly string[] {
  const pairs = query.split("&");
  return query.includes(";") ? [...pairs, ...query.split(/[&;]/)] : pairs;
}
