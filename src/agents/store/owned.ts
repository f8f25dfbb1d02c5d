import { prepare, sql } from "../../database/sql.ts";

/** The ids of the agents that a person owns, the newest first. @param ofAgent only this one. */
export async function readOwnedAgents(
  db: D1Database,
  personId: string,
  { ofAgent, limit }: { ofAgent: string | undefined; limit: number },
): Promise<string[]> {
  const wanted = ofAgent === undefined ? sql`` : sql` AND id = ${ofAgent}`;
  const { results } = await prepare(
    db,
    sql`SELECT id FROM agents WHERE owner_person_id = ${personId}${wanted} ORDER BY created_at DESC, id DESC LIMIT ${limit}`,
  ).all<{ id: string }>();
  return results.map(({ id }) => id);
}
