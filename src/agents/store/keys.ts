import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import { END_TOKENS, toAgent, type AgentRow } from "../agent-row.ts";
import type { Agent } from "../agent.ts";
import type { StoredKey } from "../api-key.ts";
import { selectAgent } from "./agents.ts";

/** How many keys of an agent may be valid at the same time. */
const MAX_KEYS_PER_AGENT = 5;

export interface NewKey {
  readonly key: StoredKey;
  /** How long the former keys stay valid, in milliseconds. 0 deletes them and ends every session of the agent. */
  readonly overlapMs: number;
  readonly by: Authority;
  readonly event: Event;
}

/**
 * Inserts a key and sets the expiry of the former ones, unless the agent is revoked. If two rotations run at once, the key of the
 * first is one of the former keys of the second.
 *
 * @returns `rotatedAt` in milliseconds, by the database's clock: the overlap is counted from it. Undefined if nothing was changed.
 */
export async function replaceKey(
  db: D1Database,
  id: string,
  { key, overlapMs, by, event }: NewKey,
): Promise<{ rotatedAt: number | undefined; agent: Agent | undefined }> {
  const changeId = newChangeId();
  const formerKeys = sql`agent_id = ${id} AND id <> ${key.id}`;
  // A revoked agent gets no new key, and its keys stay as they are.
  const isInserted = sql`EXISTS (SELECT 1 FROM api_keys WHERE id = ${key.id})`;
  // Without an overlap, the former keys are deleted, so that no clock decides when they end.
  const end =
    overlapMs === 0
      ? [
          prepare(db, sql`DELETE FROM api_keys WHERE ${formerKeys} AND ${isInserted}`),
          prepare(db, sql`UPDATE agents SET ${END_TOKENS} WHERE id = ${id} AND ${isInserted}`),
        ]
      : [
          prepare(
            db,
            sql`UPDATE api_keys SET expires_at = min(fresh.ends_at, coalesce(expires_at, fresh.ends_at))
              FROM (SELECT created_at + ${overlapMs} AS ends_at FROM api_keys WHERE id = ${key.id}) fresh
              WHERE ${formerKeys}`,
          ),
          prepare(
            db,
            sql`DELETE FROM api_keys WHERE ${formerKeys} AND id NOT IN (
              SELECT id FROM api_keys WHERE ${formerKeys} ORDER BY created_at DESC, id LIMIT ${MAX_KEYS_PER_AGENT - 1})`,
          ),
        ];
  const results = await batchAsCaller<AgentRow & { created_at: number }>(db, by, [
    prepare(
      db,
      sql`INSERT INTO api_keys (id, agent_id, type, hash, pepper_id, hint, created_at, change_id)
        SELECT ${key.id}, id, 'secret', ${key.hash}, ${key.pepperId}, ${key.hint}, ${DATABASE_NOW}, ${changeId} FROM agents WHERE id = ${id} AND status <> 'revoked'
        RETURNING created_at`,
    ),
    insertEvent(db, event, { table: "api_keys", id: key.id, changeId }),
    ...end,
    selectAgent(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  return { rotatedAt: results[0]!.results[0]?.created_at, agent: row && toAgent(row) };
}

/** Deletes up to `limit` keys whose overlap is over at `now`. Returns how many. */
export async function deleteExpiredKeys(db: D1Database, now: number, limit: number): Promise<number> {
  const { results } = await prepare(
    db,
    sql`DELETE FROM api_keys WHERE id IN (
      SELECT id FROM api_keys WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${limit}) RETURNING agent_id`,
  ).all();
  return results.length;
}
