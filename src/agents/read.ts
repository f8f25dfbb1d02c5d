import type { DetailedAgent } from "./details.ts";
import type { AgentPage, AgentQuery } from "./page.ts";
import { findDetailedAgentById } from "./store/details.ts";
import { countAgents, readAgents, readFiltered, readMatches } from "./store/listing.ts";

/** How many agents have each status. A status that none has is left out. */
export const agentsByStatus = (db: D1Database): Promise<{ status: string; total: number }[]> => countAgents(db);

/** The agent with this id and its details, or undefined. One D1 round trip. */
export const findAgent = (db: D1Database, id: string): Promise<DetailedAgent | undefined> =>
  findDetailedAgentById(db, id);

/**
 * One page of agents, the newest first, with their details. One D1 round trip.
 *
 * @param q only agents whose name, owner or id begins with this text; the total is then at most 3 × `MAX_SEARCH_MATCHES`. Only the
 *   status of the filter counts beside it.
 */
export function listAgents(
  db: D1Database,
  query: AgentQuery & { readonly q?: string | undefined },
): Promise<AgentPage<DetailedAgent>> {
  if (query.q) return readMatches(db, query.q, query);
  const { status: _, ...further } = query.filter;
  const isFiltered = Object.values(further).some((value) => value !== undefined);
  return isFiltered ? readFiltered(db, query) : readAgents(db, query);
}
