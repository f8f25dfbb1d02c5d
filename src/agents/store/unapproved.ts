import { prepare, sql } from "../../database/sql.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvents } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordsOf } from "../../outbox/records.ts";
import { DELETED_JSON } from "../agent-row.ts";

/** The condition of the index `agents_unapproved`, in its words, so that the planner uses it. */
const IS_UNAPPROVED = sql`status = 'inactive' AND approved_by IS NULL AND last_verified_at IS NULL AND updated_at = created_at`;

/** The ids of up to `limit` such agents that were registered before a time, the oldest first. @param before milliseconds. */
export async function findUnapproved(db: D1Database, before: number, limit: number): Promise<string[]> {
  const { results } = await prepare(
    db,
    sql`SELECT id FROM agents WHERE ${IS_UNAPPROVED} AND created_at < ${before} ORDER BY created_at LIMIT ${limit}`,
  ).all<{ id: string }>();
  return results.map(({ id }) => id);
}

/** Deletes these agents with their events, but for those that have been approved, changed or deleted meanwhile. */
export async function deleteUnapproved(
  db: D1Database,
  ids: readonly string[],
  events: readonly Event[],
  record: AuditEntry,
): Promise<void> {
  const changeId = newChangeId();
  const these = sql`id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`;
  await db.batch([
    // A deleted row has no change id that the events could depend on, so it is written just before the deletion.
    prepare(db, sql`UPDATE agents SET change_id = ${changeId} WHERE ${these} AND ${IS_UNAPPROVED}`),
    insertEvents(db, events, changeId),
    insertRecordsOf(db, ids, record, { where: sql`a.change_id = ${changeId}`, fields: { before: DELETED_JSON } }),
    prepare(db, sql`DELETE FROM agents WHERE ${these} AND change_id = ${changeId}`),
  ]);
}
