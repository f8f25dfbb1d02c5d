import { integer, prepare, sql, type Sql } from "../../database/sql.ts";
import type { ActLink, Action, AuditEntry, Outcome } from "../../outbox/record.ts";
import { minuteOfId, secondOfId, type AuditRecord, type IdRange } from "../audit-record.ts";
import { MINUTE_MS } from "../../time/lengths.ts";
import { addToCallHours } from "./call-hours.ts";
import { firstIdOf } from "./minutes.ts";
import { addToAllCounts, countedBefore, countMinutesBefore } from "./record-counts.ts";

/** The part of a row that is an intent without its end. Any other row has part 1. */
const INTENT_PART = integer(0);

/** A row of `records`. */
export interface RecordRow {
  agent_id: string;
  id: string;
  part: number;
  at: number;
  action: Action;
  outcome: Outcome;
  actor_type: NonNullable<AuditRecord["actor"]>["type"] | null;
  actor_id: string | null;
  actor_name: string | null;
  act: string | null;
  ip_address: string | null;
  request_id: string | null;
  key_id: string | null;
  session_id: string | null;
  service: string | null;
  method: string | null;
  path: string | null;
  rule: string | null;
  permission: string | null;
  status: number | null;
  upstream_status: number | null;
  duration_ms: number | null;
  bytes_in: number | null;
  bytes_out: number | null;
  count: number | null;
  before: string | null;
  after: string | null;
  message: string | null;
  random: string;
  intent_random: string | null;
}

/** Every column of `records` but `batch` and `is_counted`, which are the database's own. */
const RECORD_COLUMNS = sql`agent_id, id, part, at, action, outcome, actor_type, actor_id, actor_name, act, ip_address,
  request_id, key_id, session_id, service, method, path, rule, permission, status, upstream_status, duration_ms, bytes_in, bytes_out,
  count, before, after, message, random, intent_random`;

/** Returns the record that a row says. */
export function rowToRecord(row: RecordRow): AuditRecord {
  const { actor_type: type, actor_id: id, actor_name: name } = row;
  return {
    id: row.id,
    at: row.at,
    action: row.action,
    outcome: row.outcome,
    agentId: row.agent_id || null,
    actor: type && { type, id, name },
    act: row.act === null ? [] : (JSON.parse(row.act) as ActLink[]),
    ipAddress: row.ip_address,
    requestId: row.request_id,
    keyId: row.key_id,
    sessionId: row.session_id,
    service: row.service,
    method: row.method,
    path: row.path,
    rule: row.rule,
    permission: row.permission,
    status: row.status,
    upstreamStatus: row.upstream_status,
    durationMs: row.duration_ms,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
    count: row.count,
    before: parseObject(row.before),
    after: parseObject(row.after),
    message: row.message,
  };
}

const parseObject = (text: string | null): AuditRecord["before"] =>
  text === null ? null : (JSON.parse(text) as AuditRecord["before"]);

/** Identifies a row of `records`. */
export type RecordKey = readonly [agentId: string, id: string, part: 0 | 1];

const keyOf = ({ agentId, id, part }: AuditEntry): RecordKey => [agentId ?? "", id, part === "intent" ? 0 : 1];

/** Of the entries of one record, the one that says everything. */
function lastParts(entries: readonly AuditEntry[]): AuditEntry[] {
  const last = new Map<string, AuditEntry>();
  for (const entry of entries) {
    const name = `${entry.agentId ?? ""} ${entry.id}`;
    if (entry.part !== "intent" || !last.has(name)) last.set(name, entry);
  }
  return [...last.values()];
}

/**
 * Inserts entries into the audit log: their rows, the index of time, the counts, the calls of each hour, and the batch that is to be
 * archived, as one transaction, which also counts the minutes that are over. A row that exists already stays as it is and is counted no
 * more, so the same entries can be inserted again. An intent whose end has been inserted is not.
 *
 * @param batch a new id.
 * @param also statements of the same transaction.
 * @param now milliseconds.
 * @returns the keys of the rows that were not there before.
 */
export async function insertRecords(
  db: D1Database,
  entries: readonly AuditEntry[],
  batch: string,
  now: number,
  also: readonly D1PreparedStatement[] = [],
): Promise<RecordKey[]> {
  const last = lastParts(entries);
  const rows = JSON.stringify(
    last.map((entry) => ({
      ...entry,
      key: keyOf(entry),
      minute: minuteOfId(entry.id),
      outcome: entry.part === "intent" ? "unknown" : entry.outcome,
    })),
  );
  const keys = JSON.stringify(last.map(keyOf));
  const inserted = sql`json_each(${keys}) k CROSS JOIN records r
    ON r.agent_id = k.value ->> 0 AND r.id = k.value ->> 1 AND r.part = k.value ->> 2 AND r.batch = ${batch}`;
  const results = await db.batch<{ keys: string }>([
    ...also,
    insertRows(db, rows, batch),
    prepare(
      db,
      sql`INSERT INTO record_minutes (minute, agent_id)
        SELECT DISTINCT value ->> 'minute', value ->> '$.key[0]' FROM json_each(${rows}) WHERE true
        ON CONFLICT DO NOTHING`,
    ),
    prepare(
      db,
      addToAllCounts(
        sql`SELECT r.agent_id, r.outcome = 'success' AS is_success, 1 AS number, r.is_counted FROM ${inserted}
          UNION ALL
          SELECT i.agent_id, i.outcome = 'success', -1, max(r.is_counted, i.is_counted) FROM ${inserted}
            CROSS JOIN records i ON i.agent_id = r.agent_id AND i.id = r.id AND i.part = ${INTENT_PART}
          WHERE r.part > ${INTENT_PART}`,
        sql`n.is_counted`,
      ),
    ),
    ...addToCallHours(
      db,
      sql`SELECT r.at, r.outcome, 1 AS number FROM ${inserted} WHERE r.action = 'gateway.call'
        UNION ALL
        SELECT i.at, i.outcome, -1 FROM ${inserted}
          CROSS JOIN records i ON i.agent_id = r.agent_id AND i.id = r.id AND i.part = ${INTENT_PART}
        WHERE r.part > ${INTENT_PART} AND r.action = 'gateway.call'`,
      now,
    ),
    // Last, so that a minute's counts include what is inserted here.
    ...countMinutesBefore(db, Math.floor(now / MINUTE_MS)),
    prepare(
      db,
      sql`INSERT INTO batches (id, first_id, last_id, keys, created_at)
        SELECT ${batch}, min(r.id), max(r.id), json_group_array(json_array(r.agent_id, r.id, r.part)), ${now}
        FROM ${inserted} HAVING count(*) > 0 RETURNING keys`,
    ),
  ]);
  const [made] = results.at(-1)!.results;
  return made ? (JSON.parse(made.keys) as RecordKey[]) : [];
}

/** @param rows JSON of an array of entries, each with its `key` and its `minute`. */
function insertRows(db: D1Database, rows: string, batch: string): D1PreparedStatement {
  // A column of integers refuses a fraction, which would stop the whole batch.
  const whole = (name: string) => sql`CAST(value ->> ${name} AS INTEGER)`;
  return prepare(
    db,
    sql`INSERT INTO records (${RECORD_COLUMNS}, batch, is_counted)
      SELECT value ->> '$.key[0]', value ->> 'id', value ->> '$.key[2]', ${whole("at")}, value ->> 'action', value ->> 'outcome',
        value ->> '$.actor.type', value ->> '$.actor.id', value ->> '$.actor.name', nullif(value ->> 'act', '[]'),
        value ->> 'ipAddress', value ->> 'requestId', value ->> 'keyId', value ->> 'sessionId', value ->> 'service',
        value ->> 'method', value ->> 'path', value ->> 'rule', value ->> 'permission', ${whole("status")},
        ${whole("upstreamStatus")}, ${whole("durationMs")}, ${whole("bytesIn")}, ${whole("bytesOut")}, ${whole("count")},
        value ->> 'before', value ->> 'after', value ->> 'message', value ->> 'random', value ->> 'intentRandom', ${batch},
        value ->> 'minute' < ${countedBefore}
      FROM json_each(${rows})
      WHERE value ->> '$.key[2]' > ${INTENT_PART} OR NOT EXISTS (SELECT 1 FROM records r
        WHERE r.agent_id = value ->> '$.key[0]' AND r.id = value ->> 'id' AND r.part > ${INTENT_PART})
      ON CONFLICT DO NOTHING`,
  );
}

/*
 * Everybody's records are read back in time, a piece after another, by a recursive table `walk`. Its row is the piece that is read next:
 * before the second `top`, in the minute of the last second before it. `record_minutes` says which agents have records there. The first
 * piece is a second long, and each is twice as long as the one before it, up to 32 seconds: where there are many records, a page reads few
 * more than it shows, and where there are few, a minute is read in two pieces.
 */

const minuteOfPiece = sql`((walk.top - 1) / 60)`;
const bottomOfPiece = sql`max(${minuteOfPiece} * 60, walk.top - (1 << min(walk.steps, 5)))`;

/** Rows of the agents that have any, or each agent at least once: so that what is read is counted. SQLite keeps the order of both joins. */
export const [WITH_ROWS, WITH_OR_WITHOUT_ROWS] = [sql`CROSS JOIN`, sql`LEFT JOIN`] as const;

/**
 * SQL for the agents `m` that may have records in the piece `walk`, with their rows `r` in it.
 *
 * @param range of the ids that are read.
 */
export const rowsOfPiece = ({ fromId, beforeId }: IdRange, joined: Sql): Sql =>
  sql`record_minutes m ${joined} records r ON r.agent_id = m.agent_id AND r.id >= max(${firstIdOf(bottomOfPiece)}, ${fromId})
    AND r.id < min(${firstIdOf(sql`walk.top`)}, ${beforeId}) WHERE m.minute = ${minuteOfPiece}`;

const topIn = (from: Sql, to: Sql): Sql =>
  sql`(SELECT max(n.minute) * 60 + 60 FROM record_minutes n WHERE n.minute BETWEEN ${from} AND ${to})`;

/** SQL for the `top` of the first piece; NULL if there is none. D1 binds numbers as floating-point ones, which divide otherwise. */
export const topOfFirst = ({ fromId, beforeId }: IdRange): Sql =>
  sql`CAST(min(${secondOfId(beforeId) + 1}, ${topIn(sql`${minuteOfId(fromId)}`, sql`${minuteOfId(beforeId)}`)}) AS INTEGER)`;

/** SQL for the `top` of the piece after `walk`; NULL if there is none. */
export const topOfNext = ({ fromId }: IdRange): Sql =>
  sql`iif(${bottomOfPiece} > ${minuteOfPiece} * 60, ${bottomOfPiece}, ${topIn(sql`${minuteOfId(fromId)}`, sql`${minuteOfPiece} - 1`)})`;

/** SQL for the rows `r` of everybody in a range of ids. */
export const rowsInRange = ({ fromId, beforeId }: IdRange): Sql =>
  sql`record_minutes m CROSS JOIN records r ON r.agent_id = m.agent_id AND r.id >= max(${firstIdOf(sql`m.minute * 60`)}, ${fromId})
    AND r.id < min(${firstIdOf(sql`(m.minute * 60 + 60)`)}, ${beforeId})
    WHERE m.minute BETWEEN ${minuteOfId(fromId)} AND ${minuteOfId(beforeId)}`;

/** SQL that is true of a row `r` which another says better: the intent of a write whose end is known. */
export const isSuperseded = sql`(r.part = ${INTENT_PART} AND EXISTS (SELECT 1 FROM records e
  WHERE e.agent_id = r.agent_id AND e.id = r.id AND e.part > ${INTENT_PART}))`;
