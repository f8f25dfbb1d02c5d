import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvents } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordsOf } from "../../outbox/records.ts";
import { END_TOKENS } from "../agent-row.ts";
import type { AgentFilter } from "../page.ts";
import { toSelection } from "./filter.ts";

/**
 * Reads which agents a filter selects that are not revoked, but for one.
 *
 * @param looked how many rows of the filter's index are read at most; one more shows that there are more.
 * @returns how many rows were read, how many agents match, and the ids of the newest of them.
 */
export async function readRevocable(
  db: D1Database,
  filter: AgentFilter,
  except: string,
  { looked, limit }: { looked: number; limit: number },
): Promise<{ looked: number; matched: number; ids: string[] }> {
  const { scan, condition = sql`1` } = toSelection(filter);
  const scanned = scan(looked + 1);
  const matches = sql`SELECT a.id, a.created_at FROM (${scanned}) s CROSS JOIN agents a ON a.id = s.id
    WHERE ${condition} AND a.status <> 'revoked' AND a.id <> ${except}`;
  const [counts, ids] = await db.batch<{ looked: number; matched: number; id: string }>([
    prepare(
      db,
      sql`SELECT (SELECT count(*) FROM (${scanned})) AS looked, (SELECT count(*) FROM (${matches})) AS matched`,
    ),
    prepare(db, sql`SELECT id FROM (${matches}) ORDER BY created_at DESC, id DESC LIMIT ${limit}`),
  ]);
  const { looked: rows, matched } = counts!.results[0]!;
  return { looked: rows, matched, ids: ids!.results.map(({ id }) => id) };
}

/**
 * Revokes these agents, with their events, if none of them has been revoked or deleted meanwhile. All or none.
 *
 * @returns whether they were revoked.
 */
export async function revokeAgents(
  db: D1Database,
  ids: readonly string[],
  { by, events, record }: { by: Authority; events: readonly Event[]; record: AuditEntry },
): Promise<boolean> {
  const changeId = newChangeId();
  const these = sql`(SELECT value FROM json_each(${JSON.stringify(ids)}))`;
  const areAll = sql`(SELECT count(*) FROM agents o WHERE o.id IN ${these} AND o.status <> 'revoked') = ${ids.length}`;
  const [, update] = await batchAsCaller(db, by, [
    insertRecordsOf(db, ids, record, {
      where: sql`a.status <> 'revoked' AND ${areAll}`,
      fields: { before: sql`json_object('status', a.status)` },
    }),
    prepare(
      db,
      sql`UPDATE agents SET status = 'revoked', ${END_TOKENS}, updated_at = ${DATABASE_NOW}, change_id = ${changeId}
        WHERE id IN ${these} AND status <> 'revoked' AND ${areAll}
        RETURNING id`,
    ),
    insertEvents(db, events, changeId),
  ]);
  return update!.results.length > 0;
}
