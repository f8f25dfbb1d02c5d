import type { Agent, Status } from "./agent.ts";

/** The position in the list after which a page begins. Agents are listed newest first. */
export interface PagePosition {
  /** Milliseconds. */
  readonly createdAt: number;
  readonly id: string;
}

const CURSOR = /^([0-9a-z]{1,9})\.(agt_[0-9A-Za-z]{1,64})$/;

/** A position as text for a URL. It holds nothing that the page does not show. */
export const toCursor = ({ createdAt, id }: Pick<Agent, "createdAt" | "id">): string =>
  `${createdAt.toString(36)}.${id}`;

/** The position that a cursor names, or undefined for a text that is not a cursor. */
export function fromCursor(text: string): PagePosition | undefined {
  const [, createdAt, id] = CURSOR.exec(text) ?? [];
  return createdAt && id ? { createdAt: Number.parseInt(createdAt, 36), id } : undefined;
}

export interface AgentQuery {
  readonly limit: number;
  readonly offset: number;
  readonly status: Status | undefined;
  readonly after: PagePosition | undefined;
}

/** How many matches of a search are read. A search with more matches has to be narrowed. */
export const MAX_SEARCH_MATCHES = 500;

/** Below this a prefix of an id matches too many: `agt_` and four characters of 62 leave one in fifteen million. */
const MIN_ID_PREFIX_LENGTH = 8;

/** The ranges of the indexes that a search reads; the end of each is exclusive. */
export function searchRanges(q: string): { text: readonly [string, string]; id: readonly [string, string] } {
  const range = (prefix: string) => [prefix, `${prefix}\u{10ffff}`] as const;
  return { text: range(q), id: q.startsWith("agt_") && q.length >= MIN_ID_PREFIX_LENGTH ? range(q) : ["", ""] };
}
