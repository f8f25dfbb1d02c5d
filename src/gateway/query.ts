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

/**
 * Whether a query may go to the upstream as it is.
 *
 * Names are compared decoded, without regard to case and without `[…]`, and `;` counts as a separator: as the most
 * lenient upstream would read them.
 */
export function queryFault(query: string, refused: readonly string[] = []): QueryFault | undefined {
  if (query === "") return undefined;
  for (const pair of query.split(/[&;]/)) {
    const end = pair.indexOf("=");
    const name = decodeName(end === -1 ? pair : pair.slice(0, end));
    if (name === undefined) return { code: "bad_query", parameter: pair.slice(0, 40) };
    const bare = name.replace(/\[.*$/s, "").trim().toLowerCase();
    if (REFUSED.has(bare) || refused.includes(bare)) return { code: "parameter_refused", parameter: bare };
  }
  return undefined;
}

/** Undefined where the name is not UTF-8, is encoded twice, or holds a control character. */
function decodeName(raw: string): string | undefined {
  try {
    const name = decodeURIComponent(raw.replaceAll("+", " "));
    return /[\u0000-\u001f\u007f]|%[0-9A-Fa-f]{2}/.test(name) ? undefined : name;
  } catch {
    return undefined;
  }
}
