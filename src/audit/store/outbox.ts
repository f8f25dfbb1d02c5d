import { prepare, sql } from "../../database/sql.ts";
import type { AuditEntry } from "../../outbox/record.ts";

/** An entry of the outbox, as its key and its text. */
export interface WaitingEntry {
  readonly agentId: string;
  readonly id: string;
  readonly part: AuditEntry["part"];
  readonly text: string;
}

/** Up to `limit` entries that are to be moved to the audit log now. @param now milliseconds. */
export async function readReadyEntries(db: D1Database, now: number, limit: number): Promise<WaitingEntry[]> {
  const { results } = await prepare(
    db,
    sql`SELECT agent_id AS agentId, id, part, entry AS text FROM audit_outbox WHERE ready_at <= ${now} LIMIT ${limit}`,
  ).all<WaitingEntry>();
  return results;
}

type EntryKey = Pick<AuditEntry, "agentId" | "id" | "part">;

/**
 * The statement that deletes entries of the outbox which stand in the audit log. With an end goes its intent, of which the end says
 * everything. An entry that came after they were read stays.
 */
export function deleteEntries(db: D1Database, entries: readonly EntryKey[]): D1PreparedStatement {
  const keys = entries.flatMap(({ agentId, id, part }) =>
    (part === "end" ? [part, "intent"] : [part]).map((one) => [agentId ?? "", id, one]),
  );
  return prepare(
    db,
    sql`DELETE FROM audit_outbox WHERE (agent_id, id, part) IN (
      SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(${JSON.stringify(keys)}))`,
  );
}

/** The statement that lets an entry of the outbox wait until a later time, so that others are moved before it. */
export const postponeEntry = (
  db: D1Database,
  { agentId, id, part }: WaitingEntry,
  until: number,
): D1PreparedStatement =>
  prepare(
    db,
    sql`UPDATE audit_outbox SET ready_at = ${until} WHERE agent_id = ${agentId} AND id = ${id} AND part = ${part}`,
  );

/** Of so many entries it is found out whether the log has them already. */
const MAX_IDS = 1000;

/** More entries of one agent than these are not counted. So many wait only while the audit log's database does not answer. */
const MAX_COUNTED = 10_000;

/** What waits in the outbox for one agent. Intents are left out: nobody knows yet how they end. */
export interface WaitingActivity {
  /** The newest first. */
  readonly entries: readonly AuditEntry[];
  /** The ids of all, or of many. */
  readonly ids: readonly string[];
  /** How many there are in all. */
  readonly total: number;
  readonly agentExists: boolean;
}

/**
 * Reads what waits in the outbox for one agent.
 *
 * @param filter.before only entries with a lower id are read; all are counted.
 * @param limit how many entries are read.
 */
export async function readWaiting(
  db: D1Database,
  { agentId, status, before }: { agentId: string; status?: "success" | "failure" | undefined; before: string },
  limit: number,
): Promise<WaitingActivity> {
  const isShown =
    status === undefined
      ? sql`1`
      : status === "success"
        ? sql`entry ->> 'outcome' = 'success'`
        : sql`entry ->> 'outcome' <> 'success'`;
  const waiting = sql`FROM audit_outbox WHERE agent_id = ${agentId} AND part <> 'intent' AND ${isShown}`;
  const [rows, ids, counts] = await db.batch<{ entry: string; id: string; total: number; agent_exists: number }>([
    prepare(db, sql`SELECT entry ${waiting} AND id < ${before} ORDER BY id DESC LIMIT ${limit}`),
    prepare(db, sql`SELECT id ${waiting} ORDER BY id DESC LIMIT ${MAX_IDS}`),
    prepare(
      db,
      sql`SELECT (SELECT count(*) FROM (SELECT 1 ${waiting} LIMIT ${MAX_COUNTED})) AS total,
        EXISTS (SELECT 1 FROM agents WHERE id = ${agentId}) AS agent_exists`,
    ),
  ]);
  const { total, agent_exists } = counts!.results[0]!;
  const entries = rows!.results.map(({ entry }) => JSON.parse(entry) as AuditEntry);
  return { entries, ids: ids!.results.map(({ id }) => id), total, agentExists: agent_exists === 1 };
}
