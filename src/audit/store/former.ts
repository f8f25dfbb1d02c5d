import { deletedRows, prepare, sql } from "../../database/sql.ts";
import type { FormerActivity } from "../former.ts";

/** Greater than every id. */
const AFTER_EVERY_ID = "act~";

interface ActivityRow {
  id: string;
  agent_id: string;
  at: number;
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
  by_other: number;
}

/** Up to `limit` rows of the former activity log, the newest first. */
export async function readFormer(db: D1Database, limit: number): Promise<FormerActivity[]> {
  const { results } = await prepare(
    db,
    sql`SELECT id, agent_id, at, ip_address, status, message, by_other FROM activity
      WHERE id < ${AFTER_EVERY_ID} ORDER BY id DESC LIMIT ${limit}`,
  ).all<ActivityRow>();
  return results.map((row) => ({
    id: row.id,
    agentId: row.agent_id,
    at: row.at,
    ipAddress: row.ip_address,
    status: row.status,
    message: row.message,
    byOther: row.by_other === 1,
  }));
}

/** Deletes rows of the former activity log, and with the last of them its counts. */
export async function deleteFormer(db: D1Database, ids: readonly string[]): Promise<void> {
  await db.batch([
    prepare(db, sql`DELETE FROM activity WHERE id IN (SELECT value FROM json_each(${JSON.stringify(ids)}))`),
    prepare(db, sql`DELETE FROM activity_counts WHERE NOT EXISTS (SELECT 1 FROM activity)`),
  ]);
}

/** Deletes up to `limit` rows of the former activity log with a lower id, the oldest first. Returns how many. */
export const deleteFormerBefore = (db: D1Database, id: string, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM activity WHERE id IN (SELECT id FROM activity WHERE id < ${id} ORDER BY id LIMIT ${limit})`,
  );
