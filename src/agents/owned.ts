import { readOwnedAgents } from "./store/owned.ts";

/**
 * The ids of the agents that a person owns, the newest first.
 *
 * @param ofAgent only this agent, if it is theirs.
 * @param limit how many there are at most.
 */
export const listOwnedAgents = (
  db: D1Database,
  personId: string,
  { ofAgent, limit }: { ofAgent?: string | undefined; limit: number },
): Promise<string[]> => readOwnedAgents(db, personId, { ofAgent, limit });
