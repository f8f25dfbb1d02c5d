/**
 * Relations that an agent follows or reads: paging, versions, documents about a resource. An allow-list, because browsers act on
 * others by themselves (`serviceworker`, `preload`, `stylesheet`, `manifest`, `preconnect`) and new ones are invented.
 */
const RELATIONS = new Set(
  (
    "next prev previous first last start up self item collection current canonical alternate related about describedby " +
    "describes edit edit-media help author license terms-of-service privacy-policy service-desc service-doc service-meta " +
    "status type version-history latest-version predecessor-version successor-version working-copy deprecation sunset"
  ).split(" "),
);
/** An extension relation is a URI (RFC 8288 §2.1.2), which no browser acts on. */
const EXTENSION = /^https?:\/\/[^\s"<>]+$/;

const TARGET = /[ \t]*<([^<>]*)>[ \t]*/y;
const PARAMETER =
  /;[ \t]*(?:([!#$%&'*+.^_`|~\w-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w/:?@-]+)))?[ \t]*)?/y;
const SEPARATOR = /(?:,[ \t]*)+|$/y;

/**
 * Returns a `Link` header (RFC 8288) with the links whose relations are known and whose target `resolve` returns; undefined if
 * none is left, or if the header does not follow the grammar.
 *
 * A link with an `anchor` is left out, because it speaks of another resource than the answer.
 */
export function rewriteLinkHeader(value: string, resolve: (url: string) => string | undefined): string | undefined {
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(value);
    if (found) at += found[0].length;
    return found;
  };
  const links: string[] = [];
  while (at < value.length) {
    const target = match(TARGET);
    if (!target) return undefined;
    const parameters: [name: string, value: string | undefined][] = [];
    while (value[at] === ";") {
      const [, name, quoted, token] = match(PARAMETER)!;
      if (name) parameters.push([name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? token]);
    }
    if (!match(SEPARATOR)) return undefined;
    const url = hasKnownRelation(parameters) ? resolve(target[1]!) : undefined;
    if (url === undefined) continue;
    links.push([`<${url}>`, ...parameters.map(toParameter)].join("; "));
  }
  return links.length > 0 ? links.join(", ") : undefined;
}

function hasKnownRelation(parameters: readonly (readonly [name: string, value: string | undefined])[]): boolean {
  const relations = parameters.filter(([name]) => name === "rel");
  const names =
    relations[0]?.[1]
      ?.toLowerCase()
      .split(/[ \t]+/)
      .filter(Boolean) ?? [];
  // Parsers differ in which of two relations they use.
  if (relations.length !== 1 || names.length === 0 || parameters.some(([name]) => name === "anchor")) return false;
  return names.every((name) => RELATIONS.has(name) || EXTENSION.test(name));
}

const toParameter = ([name, value]: readonly [name: string, value: string | undefined]): string =>
  value === undefined ? name : `${name}="${value.replace(/["\\]/g, "\\$&")}"`;
