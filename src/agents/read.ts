import type { Agent } from "./agent.ts";
import type { AgentQuery } from "./page.ts";
import { findAgentById, probeAgents } from "./store/agents.ts";
import { readAgents, readMatches, type AgentPage } from "./store/listing.ts";

/** The agent with this id, or undefined. One D1 round trip. */
export const findAgent = (db: D1Database, id: string): Promise<Agent | undefined> => findAgentById(db, id);

/**
 * One page of agents, the newest first: one row more than the limit if there are more, and the total.
 *
 * @param q only agents whose name, owner or id begins with this text; the total is then at most 3 × `MAX_SEARCH_MATCHES`.
 */
export const listAgents = (
  db: D1Database,
  query: AgentQuery & { readonly q?: string | undefined },
): Promise<AgentPage> => (query.q ? readMatches(db, query.q, query) : readAgents(db, query));

/** @throws {Error} if the database does not answer, or has not been migrated. */
export const pingDatabase = (db: D1Database): Promise<void> => probeAgents(db);
