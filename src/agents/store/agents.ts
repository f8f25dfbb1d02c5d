import { actorJson } from "../../authority/actor-row.ts";
import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { integer, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { unlimitedPermissions } from "../../grants/grant.ts";
import {
  grantedPermissions,
  limitedGrants,
  newGrantsJson,
  setPermissionList,
  type LimitedGrant,
  type PermissionList,
} from "../../grants/grant-row.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecord, insertRecordOf } from "../../outbox/records.ts";
import { AGENT_COLUMNS, DELETED_JSON, END_TOKENS, toAgent, toJson, type AgentRow } from "../agent-row.ts";
import type { Agent, Status } from "../agent.ts";
import type { StoredKey } from "../api-key.ts";
import type { Metadata } from "../details.ts";

export interface NewAgentRow {
  readonly agent: Agent;
  readonly description: string | null;
  readonly metadata: Metadata;
  /** The agent's first key, and how long it is valid, in milliseconds; null: until it is rotated. */
  readonly key: StoredKey & { readonly lifeMs: number | null };
  readonly event: Event;
  readonly record: AuditEntry;
  /** Whether the registrar is one that approves agents. */
  readonly isApproved: boolean;
}

/** Inserts an agent with its first key. @param by who registers it; undefined for a stranger. */
export async function insertAgent(
  db: D1Database,
  { agent, description, metadata, key, event, record, isApproved }: NewAgentRow,
  by: Authority | undefined,
): Promise<void> {
  const changeId = newChangeId();
  const { id, name, ownerEmail, grants, status, tier, allowedIps, createdAt } = agent;
  const creator = by ? actorJson(by) : sql`NULL`;
  await batchAsCaller(db, by, [
    prepare(
      db,
      sql`INSERT INTO agents (id, name, owner_email, description, metadata, permissions, grants, status, tier, allowed_ips,
          created_by, approved_by, created_at, updated_at, change_id)
        VALUES (${id}, ${name}, ${ownerEmail}, ${description}, ${toJson(metadata)}, ${JSON.stringify(unlimitedPermissions(grants))},
          ${newGrantsJson(grants, creator)}, ${status},
          ${tier}, ${toJson(allowedIps)}, ${creator}, ${isApproved ? creator : sql`NULL`}, ${createdAt}, ${createdAt}, ${changeId})`,
    ),
    prepare(
      db,
      sql`INSERT INTO api_keys (id, agent_id, type, hash, pepper_id, hint, created_by, created_at, expires_at)
        VALUES (${key.id}, ${id}, 'secret', ${key.hash}, ${key.pepperId}, ${key.hint}, ${creator}, ${createdAt},
          ${key.lifeMs === null ? sql`NULL` : sql`${DATABASE_NOW} + ${key.lifeMs}`})`,
    ),
    insertEvent(db, event, { table: "agents", id, changeId }),
    insertRecord(db, record, { table: "agents", id, changeId }),
  ]);
}

/** The statement that reads an agent, at the end of a batch that changes it. */
export const selectAgent = (db: D1Database, id: string): D1PreparedStatement =>
  prepare(db, sql`SELECT ${AGENT_COLUMNS} FROM agents a WHERE a.id = ${id}`);

/** The result of an update: whether it changed the agent, and the agent as it is now. */
export interface UpdatedAgent {
  readonly changed: boolean;
  readonly agent: Agent | undefined;
}

interface Announced {
  readonly by: Authority;
  /** The `updated_at` that the row must have. Undefined: any. */
  readonly readAt?: number | undefined;
  readonly events: readonly Event[];
  readonly record: AuditEntry;
}

interface Update {
  readonly set: Sql;
  readonly when: Sql;
  /** JSON of what the change replaces. */
  readonly before: Sql;
  /** The record's action, if it depends on the row. */
  readonly action?: Sql;
  /** A query that runs after the update. Its first row is returned. */
  readonly read?: Sql;
}

/**
 * Updates an agent if `when` is true of it, and inserts the events and the record of the change. If two callers set the same value at once, the first
 * changes the row and writes the events. For the second, `when` is false, and it writes nothing.
 *
 * @param read a query that runs after the update. Its first row is returned.
 */
async function updateAgent<Row = never>(
  db: D1Database,
  id: string,
  { set, when, before, action, read }: Update,
  { by, readAt, events, record }: Announced,
): Promise<UpdatedAgent & { readonly read: Row | undefined }> {
  const changeId = newChangeId();
  const row = sql`id = ${id} AND ${when} AND ${readAt === undefined ? sql`1` : sql`updated_at = ${readAt}`}`;
  const [, update, ...results] = await batchAsCaller<AgentRow>(db, by, [
    insertRecordOf(db, record, { from: sql`FROM agents WHERE ${row}`, fields: { before, ...(action && { action }) } }),
    prepare(db, sql`UPDATE agents SET ${set}, updated_at = ${DATABASE_NOW}, change_id = ${changeId} WHERE ${row}`),
    ...events.map((event) => insertEvent(db, event, { table: "agents", id, changeId })),
    selectAgent(db, id),
    ...(read ? [prepare(db, read)] : []),
  ]);
  const found = results[events.length]!.results[0];
  return {
    changed: update!.meta.changes > 0,
    agent: found && toAgent(found),
    read: results[events.length + 1]?.results[0] as Row | undefined,
  };
}

/** Sets the status unless the agent has it already or is revoked. Leaving `active` ends all its tokens and sessions. */
export function updateStatus(db: D1Database, id: string, status: Status, change: Announced): Promise<UpdatedAgent> {
  const also =
    status === "active" ? sql`, approved_by = coalesce(approved_by, ${actorJson(change.by)})` : sql`, ${END_TOKENS}`;
  const when = sql`status NOT IN (${status}, 'revoked')`;
  const before = sql`json_object('status', status)`;
  const action = status === "active" && sql`iif(approved_by IS NULL, 'agent.approved', 'agent.status_updated')`;
  return updateAgent(db, id, { set: sql`status = ${status}${also}`, when, before, ...(action && { action }) }, change);
}

/** Sets the tier unless the agent has it already or is revoked. */
export function updateTier(db: D1Database, id: string, tier: string, change: Announced): Promise<UpdatedAgent> {
  const when = sql`tier <> ${tier} AND status <> 'revoked'`;
  return updateAgent(db, id, { set: sql`tier = ${tier}`, when, before: sql`json_object('tier', tier)` }, change);
}

/**
 * Sets the permissions unless the agent has exactly these already, is revoked, or has limits that the list would widen or take away.
 *
 * @returns also a grant that keeps the list from being set.
 */
export async function updatePermissions(
  db: D1Database,
  id: string,
  list: PermissionList,
  change: Announced,
): Promise<UpdatedAgent & { readonly limited: LimitedGrant | undefined }> {
  const { set, differs } = setPermissionList(list, actorJson(change.by));
  const limited = limitedGrants(id, list);
  const when = sql`status <> 'revoked' AND ${differs} AND NOT EXISTS (${limited})`;
  const before = sql`json_object('permissions', json(${grantedPermissions(sql`agents.grants`)}))`;
  const { read, ...updated } = await updateAgent<LimitedGrant>(db, id, { set, when, before, read: limited }, change);
  return { ...updated, limited: read };
}

/** How a deletion ended. `tokenVersion`: tokens of older versions are revoked. */
export type Removal =
  | { readonly result: "removed"; readonly tokenVersion: number }
  /** The agent has more sessions than one statement may delete. Its tokens have ended. */
  | { readonly result: "too_many_sessions"; readonly tokenVersion: number }
  | { readonly result: "unknown" };

/** How many rows of each table a deletion may take with it by foreign keys. D1 does nothing else meanwhile. */
const MAX_ROWS_OF_AGENT = 2000;

/**
 * Deletes an agent, by foreign keys its API keys and sessions, and by triggers its webhooks, once they have received the event. Its
 * tokens end also if it is not deleted, because it has too many sessions.
 */
export async function deleteAgent(
  db: D1Database,
  id: string,
  { by, event, record }: { by: Authority; event: Event; record: AuditEntry },
): Promise<Removal> {
  const changeId = newChangeId();
  const most = integer(MAX_ROWS_OF_AGENT);
  const isSmall = sql`(SELECT count(*) FROM (SELECT 1 FROM sessions WHERE agent_id = ${id} LIMIT ${most} + 1)) <= ${most}
    AND (SELECT count(*) FROM (SELECT 1 FROM refresh_families f LEFT JOIN refresh_tokens t ON t.family_id = f.id
      WHERE f.agent_id = ${id} LIMIT ${most} + 1)) <= ${most}`;
  const [update, , , deletion] = await batchAsCaller<{ token_version: number }>(db, by, [
    // A deleted row has no change id that the events could depend on, so it is written just before the deletion.
    prepare(
      db,
      sql`UPDATE agents SET change_id = iif(${isSmall}, ${changeId}, change_id), ${END_TOKENS} WHERE id = ${id}
        RETURNING token_version`,
    ),
    insertEvent(db, event, { table: "agents", id, changeId }),
    insertRecordOf(db, record, {
      from: sql`FROM agents a WHERE a.id = ${id} AND a.change_id = ${changeId}`,
      fields: { before: DELETED_JSON },
    }),
    prepare(db, sql`DELETE FROM agents WHERE id = ${id} AND change_id = ${changeId} RETURNING token_version`),
  ]);
  const row = update!.results[0];
  if (!row) return { result: "unknown" };
  const result = deletion!.results.length > 0 ? "removed" : "too_many_sessions";
  return { result, tokenVersion: row.token_version };
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
