import { prepare, sql, type Sql } from "../../database/sql.ts";
import { BEFORE_EVERY_ID } from "../audit-record.ts";
import { readCounts } from "./record-counts.ts";
import { isSuperseded, rowsOfPiece, topOfFirst, topOfNext, WITH_ROWS, type RecordRow } from "./records.ts";

/** Which rows of the activity are read: those of one agent, or of everybody. */
export interface ActivityFilter {
  readonly agentId?: string | undefined;
  readonly status?: "success" | "failure" | undefined;
  /** Only records with a lower id. */
  readonly before: string;
}

const hasStatus = (status: ActivityFilter["status"]): Sql =>
  status === undefined
    ? sql``
    : status === "success"
      ? sql` AND r.outcome = 'success'`
      : sql` AND r.outcome <> 'success'`;

/** A page of the activity in the audit log. */
export interface StoredActivity {
  /** The newest first. */
  readonly rows: RecordRow[];
  /** How many there are in all, whatever `before` is. */
  readonly total: number;
  /** Those of the given ids that the audit log has, and whether it has more of them than an intent. */
  readonly existing: ReadonlyMap<string, boolean>;
}

/**
 * Reads a page of the activity of an agent or of everybody, the newest first. One round trip.
 *
 * @param ids records of the agent of which it is to be found out whether the audit log has them.
 */
export async function readActivity(
  db: D1Database,
  filter: ActivityFilter,
  { limit, offset }: { limit: number; offset: number },
  ids: readonly string[] = [],
): Promise<StoredActivity> {
  const { agentId, status } = filter;
  const [rows, counts, existing] = await db.batch<RecordRow & { is_success: number; total: number; part: number }>([
    prepare(db, pageOf(filter, limit, offset)),
    readCounts(db, agentId ?? "*"),
    ...(agentId !== undefined && ids.length > 0 ? [prepare(db, existingOf(agentId, ids))] : []),
  ]);
  const total = counts!.results
    .filter(({ is_success }) => status === undefined || (is_success === 1) === (status === "success"))
    .reduce((sum, one) => sum + one.total, 0);
  return { rows: rows!.results, total, existing: new Map(existing?.results.map(({ id, part }) => [id, part > 0])) };
}

const existingOf = (agentId: string, ids: readonly string[]): Sql =>
  sql`SELECT r.id, max(r.part) AS part FROM json_each(${JSON.stringify(ids)}) k CROSS JOIN records r
    ON r.agent_id = ${agentId} AND r.id = k.value GROUP BY r.id`;

/** A page of the records of an agent or of everybody, the newest first. */
function pageOf({ agentId, status, before }: ActivityFilter, limit: number, offset: number): Sql {
  const isShown = sql`NOT ${isSuperseded}${hasStatus(status)}`;
  if (agentId === undefined && status !== "failure") return everybodysPage(before, isShown, limit, offset);
  const shown = sql`r.id < ${before} AND ${isShown}`;
  const page = sql`ORDER BY r.id DESC LIMIT ${limit} OFFSET ${offset}`;
  if (agentId === undefined) return sql`SELECT r.* FROM records r INDEXED BY records_failed WHERE ${shown} ${page}`;
  // The primary key is in the order of one agent's page, and so is the index of what failed, which the planner does not prefer.
  const index = status === "failure" ? sql`INDEXED BY records_failed_by_agent` : sql``;
  return sql`SELECT r.* FROM records r ${index} WHERE r.agent_id = ${agentId} AND ${shown} ${page}`;
}

/** How many pieces of time a page of everybody's activity goes back through at most. A minute without records is none. */
const MAX_PIECES = 20_000;

/**
 * A page of everybody's records. It walks back through the minutes that have records until they have enough of them, and then sorts
 * what it has found: so it reads about twice the rows of the page, however many there are.
 */
function everybodysPage(before: string, isShown: Sql, limit: number, offset: number): Sql {
  const range = { fromId: BEFORE_EVERY_ID, beforeId: before };
  const rows = rowsOfPiece(range, WITH_ROWS);
  const needed = sql`walk.top IS NOT NULL AND walk.rows < ${limit + offset}`;
  return sql`WITH RECURSIVE walk (top, rows, steps) AS (
      SELECT ${topOfFirst(range)}, 0, 0
      UNION ALL
      SELECT ${topOfNext(range)}, walk.rows + (SELECT count(*) FROM ${rows} AND ${isShown}),
        walk.steps + 1
      FROM walk WHERE ${needed} AND walk.steps < ${MAX_PIECES}
    )
    SELECT r.* FROM walk CROSS JOIN ${rows} AND ${needed} AND ${isShown}
    ORDER BY r.id DESC LIMIT ${limit} OFFSET ${offset}`;
}
