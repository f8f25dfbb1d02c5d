import type { SentHeaders } from "./request-headers.ts";
import type { ServiceDefinition } from "./service-definition.ts";

/** The request header by which a client says what happens to the links in JSON answers. */
export const LINKS_HEADER = "x-agentauth-links";

/** `rewrite`: every link to the API leads through the gateway. `keep`: the body stays as the upstream wrote it. */
export type LinkMode = "rewrite" | "keep";

/**
 * Which links in a JSON answer are changed. A place is a JSON pointer (RFC 6901) from the root of the answer (`/paging/next/link`), or the name
 * of a member at any depth, with at most one `*` at its beginning or its end (`url`, `*_url`, `thumb_*`).
 */
export interface BodyLinks {
  /** Links to the API lead through the gateway. What a pointer names must be a link; what has such a name is changed only if it leads to the API. */
  readonly rewritten: readonly string[];
  /** Names of links that clients follow with their token. If they lead to another host, they are removed. */
  readonly removed: readonly string[];
}

/** Names that APIs use for links, for clients that ask to have them rewritten where the service has no list of its own. */
const USUAL_NAMES = ["url", "*_url", "*Url", "href", "next", "previous", "prev", "first", "last", "self"];

/** Returns the mode that a request asks for, undefined if it leaves that to the service, or `unknown`. */
export function linkMode(headers: SentHeaders): LinkMode | "unknown" | undefined {
  const value = headers.get(LINKS_HEADER) ?? undefined;
  if (value === undefined) return undefined;
  return value === "rewrite" || value === "keep" ? value : "unknown";
}

/** Returns which links are changed in the JSON answers of a service, or undefined if none are. */
export function bodyLinksOf(definition: ServiceDefinition, mode: LinkMode | undefined): BodyLinks | undefined {
  if (mode === "keep") return undefined;
  let modes = computed.get(definition);
  if (!modes) computed.set(definition, (modes = { asked: asked(definition), unasked: unasked(definition) }));
  return mode === "rewrite" ? modes.asked : modes.unasked;
}

const computed = new WeakMap<ServiceDefinition, Record<"asked" | "unasked", BodyLinks | undefined>>();

function unasked({ bodyLinks = [], removedLinks = [] }: ServiceDefinition): BodyLinks | undefined {
  return bodyLinks.length + removedLinks.length > 0 ? { rewritten: bodyLinks, removed: removedLinks } : undefined;
}

function asked({ bodyLinks = [], moreBodyLinks = USUAL_NAMES, removedLinks = [] }: ServiceDefinition): BodyLinks {
  return { rewritten: [...new Set([...bodyLinks, ...moreBodyLinks])], removed: removedLinks };
}
