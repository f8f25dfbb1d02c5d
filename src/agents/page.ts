import type { Agent, Status } from "./agent.ts";

/** The position in the list after which a page begins. Agents are listed newest first. */
export interface PagePosition {
  /** Milliseconds. */
  readonly createdAt: number;
  readonly id: string;
}

const CURSOR = /^([0-9a-z]{1,9})\.(agt_[0-9A-Za-z]{1,64})$/;

/** Encodes a position for a URL. A cursor contains only what the page shows. */
export const toCursor = ({ createdAt, id }: Pick<Agent, "createdAt" | "id">): string =>
  `${createdAt.toString(36)}.${id}`;

/** Decodes a cursor. Returns undefined for a text that is not one. */
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

/** How many matches of a search are read from each index. A search with more matches has to be narrowed. */
export const MAX_SEARCH_MATCHES = 500;

/** A shorter prefix of an id matches too many agents. `agt_` and four characters of base 62 match one in fifteen million. */
const MIN_ID_PREFIX_LENGTH = 8;

/** The ranges of the indexes that a search reads. The end of each is exclusive. */
export function searchRanges(q: string): { text: readonly [string, string]; id: readonly [string, string] } {
  const range = (prefix: string) => [prefix, `${prefix}\u{10ffff}`] as const;
  return { text: range(q), id: q.startsWith("agt_") && q.length >= MIN_ID_PREFIX_LENGTH ? range(q) : ["", ""] };
}
