import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import { AGENT_COLUMNS, END_TOKENS, toAgent, type AgentRow } from "../agent-row.ts";
import type { Agent, Status } from "../agent.ts";
import type { StoredKey } from "../api-key.ts";

export interface NewAgentRow {
  readonly agent: Agent;
  readonly description: string | null;
  /** The agent's first key. */
  readonly key: StoredKey;
  readonly event: Event;
}

/** Inserts an agent with its first key. `by` is undefined for a registrar that is not an agent. */
export async function insertAgent(
  db: D1Database,
  { agent, description, key, event }: NewAgentRow,
  by: Authority | undefined,
): Promise<void> {
  const changeId = newChangeId();
  const { id, name, ownerEmail, permissions, status, tier, createdAt } = agent;
  await batchAsCaller(db, by, [
    prepare(
      db,
      sql`INSERT INTO agents (id, name, owner_email, description, permissions, status, tier, created_at, updated_at, change_id)
        VALUES (${id}, ${name}, ${ownerEmail}, ${description}, ${JSON.stringify(permissions)}, ${status}, ${tier},
          ${createdAt}, ${createdAt}, ${changeId})`,
    ),
    prepare(
      db,
      sql`INSERT INTO api_keys (id, agent_id, type, hash, hint, created_at)
        VALUES (${key.id}, ${id}, 'secret', ${key.hash}, ${key.hint}, ${createdAt})`,
    ),
    insertEvent(db, event, { table: "agents", id, changeId }),
  ]);
}

/** The statement that reads an agent, at the end of a batch that changes it. */
export const selectAgent = (db: D1Database, id: string): D1PreparedStatement =>
  prepare(db, sql`SELECT ${AGENT_COLUMNS} FROM agents a WHERE a.id = ${id}`);

export async function findAgentById(db: D1Database, id: string): Promise<Agent | undefined> {
  const row = await selectAgent(db, id).first<AgentRow>();
  return row ? toAgent(row) : undefined;
}

/** Checks that the database answers, with the cheapest read there is. Rejects if it does not. */
export async function probeAgents(db: D1Database): Promise<void> {
  await prepare(db, sql`SELECT 1 FROM agents LIMIT 1`).run();
}

/** The result of an update: whether it changed the agent, and the agent as it is now. */
export interface UpdatedAgent {
  readonly changed: boolean;
  readonly agent: Agent | undefined;
}

interface Announced {
  readonly by: Authority;
  readonly events: readonly Event[];
}

/**
 * Updates an agent if `when` is true of it, and inserts the events of the change. If two callers set the same value at once, the first
 * changes the row and writes the events. For the second, `when` is false, and it writes nothing.
 */
async function updateAgent(
  db: D1Database,
  id: string,
  { set, when }: { set: Sql; when: Sql },
  { by, events }: Announced,
): Promise<UpdatedAgent> {
  const changeId = newChangeId();
  const results = await batchAsCaller<AgentRow>(db, by, [
    prepare(
      db,
      sql`UPDATE agents SET ${set}, updated_at = ${DATABASE_NOW}, change_id = ${changeId} WHERE id = ${id} AND ${when}`,
    ),
    ...events.map((event) => insertEvent(db, event, { table: "agents", id, changeId })),
    selectAgent(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  return { changed: results[0]!.meta.changes > 0, agent: row && toAgent(row) };
}

/** Sets the status unless the agent has it already or is revoked. Leaving `active` ends all its tokens and sessions. */
export function updateStatus(db: D1Database, id: string, status: Status, change: Announced): Promise<UpdatedAgent> {
  const ended = status === "active" ? sql`` : sql`, ${END_TOKENS}`;
  const when = sql`status NOT IN (${status}, 'revoked')`;
  return updateAgent(db, id, { set: sql`status = ${status}${ended}`, when }, change);
}

/** Sets the tier unless the agent has it already or is revoked. */
export function updateTier(db: D1Database, id: string, tier: string, change: Announced): Promise<UpdatedAgent> {
  return updateAgent(db, id, { set: sql`tier = ${tier}`, when: sql`tier <> ${tier} AND status <> 'revoked'` }, change);
}

/** Sets the permissions unless the agent has exactly these already or is revoked. */
export function updatePermissions(
  db: D1Database,
  id: string,
  permissions: readonly string[],
  change: Announced,
): Promise<UpdatedAgent> {
  const json = JSON.stringify(permissions);
  const when = sql`permissions <> ${json} AND status <> 'revoked'`;
  return updateAgent(db, id, { set: sql`permissions = ${json}`, when }, change);
}

/**
 * Deletes an agent, by foreign keys its API keys and sessions, and by triggers its webhooks, once they have received the event.
 *
 * @returns the second before which its tokens are revoked, or undefined if there is no such agent.
 */
export async function deleteAgent(
  db: D1Database,
  id: string,
  by: Authority,
  event: Event,
): Promise<number | undefined> {
  const changeId = newChangeId();
  const [, , deletion] = await batchAsCaller<{ not_before: number }>(db, by, [
    // A deleted row has no change id that the events could depend on, so it is written just before the deletion.
    prepare(db, sql`UPDATE agents SET change_id = ${changeId}, ${END_TOKENS} WHERE id = ${id}`),
    insertEvent(db, event, { table: "agents", id, changeId }),
    prepare(db, sql`DELETE FROM agents WHERE id = ${id} RETURNING not_before`),
  ]);
  return deletion!.results[0]?.not_before;
}

/** The statement that stores when agents last verified themselves. A repeated or late message changes nothing. */
export function updateLastVerified(
  db: D1Database,
  verifications: ReadonlyArray<{ readonly agentId: string; readonly at: number }>,
): D1PreparedStatement {
  const json = JSON.stringify(verifications.map(({ agentId, at }) => ({ agentId, at })));
  return prepare(
    db,
    sql`UPDATE agents SET last_verified_at = v.at
      FROM (SELECT value ->> 'agentId' AS id, max(value ->> 'at') AS at FROM json_each(${json}) GROUP BY 1) v
      WHERE agents.id = v.id AND (last_verified_at IS NULL OR last_verified_at < v.at)`,
  );
}
