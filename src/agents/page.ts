import type { Agent } from "./agent.ts";

/** The place in the list after which a page begins. Agents are listed newest first. */
export interface PagePosition {
  /** Milliseconds. */
  readonly createdAt: number;
  readonly id: string;
}

const CURSOR = /^([0-9a-z]{1,9})\.(agt_[0-9A-Za-z]{1,64})$/;

/** A place as text for a URL. It says nothing that the page does not show. */
export const toCursor = ({ createdAt, id }: Pick<Agent, "createdAt" | "id">): string =>
  `${createdAt.toString(36)}.${id}`;

export function fromCursor(text: string): PagePosition | undefined {
  const [, createdAt, id] = CURSOR.exec(text) ?? [];
  return createdAt && id ? { createdAt: Number.parseInt(createdAt, 36), id } : undefined;
}

/** How many matches of a search are looked at: what reads more than this is to be narrowed. */
export const MAX_SEARCH_MATCHES = 500;

/** Below this a prefix of an id matches too many: `agt_` and four characters of 62 leave one in fifteen million. */
const MIN_ID_PREFIX_LENGTH = 8;

/** The ranges of the indexes that a search reads; the end of each is exclusive. */
export function searchRanges(q: string): { text: readonly [string, string]; id: readonly [string, string] } {
  const range = (prefix: string) => [prefix, `${prefix}\u{10ffff}`] as const;
  return { text: range(q), id: q.startsWith("agt_") && q.length >= MIN_ID_PREFIX_LENGTH ? range(q) : ["", ""] };
}
