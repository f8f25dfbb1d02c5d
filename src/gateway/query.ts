/**
 * Parameters that no agent may send to any upstream: credentials of its own, which some APIs prefer over the header, and
 * method overrides, which would turn a checked read into a write.
 */
const REFUSED = new Set([
  "token",
  "access_token",
  "oauth_token",
  "key",
  "api_key",
  "apikey",
  "hapikey",
  "_method",
  "_httpmethod",
  "method",
  "x-http-method-override",
]);

export interface QueryFault {
  readonly code: "parameter_refused" | "bad_query";
  readonly parameter: string;
}

/** What a query says beside the path. */
export interface QueryReading {
  /** Permissions for what the answer would embed; null where that is not known. */
  readonly embedded: readonly string[] | null;
}

type Embeds = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

const NOTHING: QueryReading = { embedded: [] };

/**
 * Whether a query may go to the upstream as it is, and what it adds to what the request needs.
 *
 * Read as the most lenient upstream would: names decoded, without regard to case and without `[…]`, and `;` counts as a
 * separator. Every occurrence of an embedding parameter counts, whichever of them the upstream would take.
 */
export function readQuery(query: string, refused: readonly string[], embeds: Embeds): QueryReading | QueryFault {
  if (query === "") return NOTHING;
  const embedded: string[] = [];
  let unknown = false;
  for (const pair of query.split(/[&;]/)) {
    const end = pair.indexOf("=");
    const name = parameterName(end === -1 ? pair : pair.slice(0, end));
    if (name === undefined) return { code: "bad_query", parameter: pair.slice(0, 40) };
    if (REFUSED.has(name) || refused.includes(name)) return { code: "parameter_refused", parameter: name };
    const values = embeds.get(name);
    if (!values || end === -1) continue;
    const value = decode(pair.slice(end + 1));
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
 * A parameter's name as it is compared: `expand[0]`, `[expand]` and `Expand` are `expand`, as Rack reads them, and
 * `access.token` is `access_token`, as PHP does. Undefined where it is not plain text.
 */
export function parameterName(raw: string): string | undefined {
  if (/^[a-z_-]+$/.test(raw)) return raw;
  const name = decode(raw);
  if (name === undefined) return undefined;
  const closed = name.includes("]") ? name.replace(/^[[\]\s]*([^[\]]*).*$/s, "$1") : name.replace(/^\s*\[+/, "");
  return closed
    .trim()
    .replace(/[\s.[]/g, "_")
    .toLowerCase();
}

/** Undefined where the text is not UTF-8, is encoded twice, or holds a control character. */
function decode(raw: string): string | undefined {
  try {
    const text = decodeURIComponent(raw.replaceAll("+", " "));
    return /[\u0000-\u001f\u007f]|%[0-9A-Fa-f]{2}/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
