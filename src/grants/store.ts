import { actorJson } from "../authority/actor-row.ts";
import type { Authority } from "../authority/authority.ts";
import { batchAsCaller } from "../authority/batch.ts";
import { prepare, sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import { newChangeId } from "../outbox/change.ts";
import type { Event } from "../outbox/event.ts";
import { insertEvent } from "../outbox/outbox.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { insertRecordOf } from "../outbox/records.ts";
import { nextDue, parseGrants, serializeGrants, type AgentGrants, type Grant } from "./grant.ts";
import { grantsForRecord, setGrantList } from "./grant-row.ts";

interface GrantsRow {
  grants: string | null;
  grants_version: number;
  status: string;
  read_at: number;
}

const selectGrants = (db: D1Database, agentId: string): D1PreparedStatement =>
  prepare(db, sql`SELECT grants, grants_version, status, ${DATABASE_NOW} AS read_at FROM agents WHERE id = ${agentId}`);

const toAgentGrants = (row: GrantsRow): AgentGrants => ({
  grants: parseGrants(row.grants),
  version: row.grants_version,
  isRevoked: row.status === "revoked",
  readAt: row.read_at,
});

/** The grants of an agent; undefined for no agent. */
export async function readGrants(db: D1Database, agentId: string): Promise<AgentGrants | undefined> {
  const row = await selectGrants(db, agentId).first<GrantsRow>();
  return row ? toAgentGrants(row) : undefined;
}

/**
 * Sets the grants, with the event, unless the agent has exactly these already, is revoked, or its grants are not those of a version.
 *
 * @param version undefined for whatever grants it has.
 * @returns whether it was changed, and the grants as they are now; undefined for no agent.
 */
export async function updateGrants(
  db: D1Database,
  agentId: string,
  { grants, version }: { grants: readonly Grant[]; version: number | undefined },
  { by, event, record }: { by: Authority; event: Event; record: AuditEntry },
): Promise<{ changed: boolean; found: AgentGrants | undefined }> {
  const changeId = newChangeId();
  const { set, list, differs } = setGrantList(grants, actorJson(by));
  const recorded = (column: Sql) => sql`json_object('grants', json(${grantsForRecord(column)}))`;
  const when = sql`WHERE id = ${agentId} AND status <> 'revoked' AND ${differs}
    AND ${version === undefined ? sql`1` : sql`grants_version = ${version}`}`;
  const [, update, , selected] = await batchAsCaller<GrantsRow>(db, by, [
    insertRecordOf(db, record, {
      from: sql`FROM agents ${when}`,
      fields: { before: recorded(sql`agents.grants`), after: recorded(list) },
    }),
    prepare(db, sql`UPDATE agents SET ${set}, updated_at = ${DATABASE_NOW}, change_id = ${changeId} ${when}`),
    insertEvent(db, event, { table: "agents", id: agentId, changeId }),
    selectGrants(db, agentId),
  ]);
  const row = selected!.results[0];
  return { changed: update!.meta.changes > 0, found: row && toAgentGrants(row) };
}

/** An agent of which a grant has to be announced or has ended. */
export interface DueAgent {
  readonly id: string;
  readonly grants: readonly Grant[];
  readonly version: number;
  readonly dueAt: number;
  /** The database's time, in milliseconds. */
  readonly readAt: number;
}

/** Up to `limit` agents whose grants are due, those that have waited longest first. */
export async function findDue(db: D1Database, limit: number): Promise<DueAgent[]> {
  const { results } = await prepare(
    db,
    sql`SELECT id, grants, grants_version, grants_due_at, ${DATABASE_NOW} AS read_at FROM agents
      WHERE grants_due_at IS NOT NULL AND grants_due_at <= ${DATABASE_NOW} ORDER BY grants_due_at LIMIT ${limit}`,
  ).all<GrantsRow & { id: string; grants_due_at: number }>();
  return results.map((row) => ({
    id: row.id,
    grants: parseGrants(row.grants),
    version: row.grants_version,
    dueAt: row.grants_due_at,
    readAt: row.read_at,
  }));
}

/**
 * The statements that write what a job has done about an agent's grants, with its events, if they are still those that it read. Of two
 * jobs at once, the second one finds another due time. The version stays: nothing that could be seen has changed.
 */
export function writeDue(
  db: D1Database,
  { id, version, dueAt }: DueAgent,
  grants: readonly Grant[],
  events: readonly Event[],
): D1PreparedStatement[] {
  const changeId = newChangeId();
  return [
    prepare(
      db,
      sql`UPDATE agents SET grants = ${serializeGrants(grants)}, grants_due_at = ${nextDue(grants)}, change_id = ${changeId}
        WHERE id = ${id} AND grants_version = ${version} AND grants_due_at = ${dueAt}`,
    ),
    ...events.map((event) => insertEvent(db, event, { table: "agents", id, changeId })),
  ];
}

/** How many agents are looked at that hold a `service:resource:*`. */
const MAX_HOLDERS = 1000;

/**
 * Finds agents that hold one of these permissions, each `service:resource:*`, with their grants.
 *
 * @returns `isWhole`: whether these are all of them, and not the first 1000 alone.
 */
export async function findHolders(
  db: D1Database,
  permissions: readonly string[],
): Promise<{ holders: readonly { id: string; grants: readonly Grant[] }[]; isWhole: boolean }> {
  const { results } = await prepare(
    db,
    sql`SELECT DISTINCT a.id, a.grants FROM (
        SELECT agent_id FROM json_each(${JSON.stringify(permissions)}) w JOIN agent_permissions p ON p.permission = w.value
        LIMIT ${MAX_HOLDERS}) h
      JOIN agents a ON a.id = h.agent_id WHERE a.status <> 'revoked'`,
  ).all<{ id: string; grants: string | null }>();
  const holders = results.map(({ id, grants }) => ({ id, grants: parseGrants(grants) }));
  return { holders, isWhole: results.length < MAX_HOLDERS };
}
