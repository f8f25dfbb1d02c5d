import type { Agent, Status, Tier } from "./agent.ts";

/** The position in a list after which a page begins. Agents, and the keys and sessions of an agent, are listed newest first. */
export interface PagePosition {
  /** Milliseconds. */
  readonly createdAt: number;
  readonly id: string;
}

const CURSOR = /^([0-9a-z]{1,9})\.([a-z]{3,4}_[0-9A-Za-z]{1,64})$/;

/** Encodes a position for a URL. A cursor contains only what the page shows. */
export const toCursor = ({ createdAt, id }: PagePosition): string => `${createdAt.toString(36)}.${id}`;

/** Decodes a cursor. Returns undefined for a text that is not one. */
export function fromCursor(text: string): PagePosition | undefined {
  const [, createdAt, id] = CURSOR.exec(text) ?? [];
  return createdAt && id ? { createdAt: Number.parseInt(createdAt, 36), id } : undefined;
}

/** Which agents are listed: those for which everything that is given is true. */
export interface AgentFilter {
  readonly status?: Status | undefined;
  readonly tier?: Tier | undefined;
  /** The whole address, in any case. */
  readonly ownerEmail?: string | undefined;
  /** A permission that was granted in exactly this form. A wider one that includes it does not count. */
  readonly permission?: string | undefined;
  /** The person whose agents they are. */
  readonly ownerPersonId?: string | undefined;
  /** Milliseconds: only agents that have not verified themselves since, and were registered before. */
  readonly lastVerifiedBefore?: number | undefined;
}

export interface AgentQuery {
  readonly limit: number;
  readonly offset: number;
  readonly after: PagePosition | undefined;
  readonly filter: AgentFilter;
}

/** One page of agents. */
export interface AgentPage<Row> {
  /** The newest first. */
  readonly agents: readonly Row[];
  readonly total: number;
  /** Where the next page begins; null on the last page. */
  readonly next: PagePosition | null;
}

/**
 * Returns one page from rows that were read for it.
 *
 * @param rows up to `limit` + 1 of them: the last one only shows that there is another page.
 * @param scannedUntil where reading stopped although there may be more rows, or null if it came to the end.
 */
export function toPage<Row extends { readonly agent: Agent }>(
  rows: readonly Row[],
  { limit, total, scannedUntil = null }: { limit: number; total: number; scannedUntil?: PagePosition | null },
): AgentPage<Row> {
  const agents = rows.slice(0, limit);
  return { agents, total, next: rows.length > limit ? agents.at(-1)!.agent : scannedUntil };
}

/** How many matches of a search are read from each index. A search with more matches has to be narrowed. */
export const MAX_SEARCH_MATCHES = 500;

/** How many agents are looked at for one page of a list that no single index has. There may be more on the next page. */
export const MAX_SCANNED = 2000;

/** A shorter prefix of an id matches too many agents. `agt_` and four characters of base 62 match one in fifteen million. */
const MIN_ID_PREFIX_LENGTH = 8;

/** The ranges of the indexes that a search reads. The end of each is exclusive. */
export function searchRanges(q: string): { text: readonly [string, string]; id: readonly [string, string] } {
  const range = (prefix: string) => [prefix, `${prefix}\u{10ffff}`] as const;
  return { text: range(q), id: q.startsWith("agt_") && q.length >= MIN_ID_PREFIX_LENGTH ? range(q) : ["", ""] };
}
