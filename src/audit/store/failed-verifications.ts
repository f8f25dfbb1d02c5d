import { deletedRows, integer, prepare, sql, type Sql } from "../../database/sql.ts";
import type { Event } from "../../outbox/event.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { MINUTE_MS } from "../../time/lengths.ts";

/** Failed verifications of one agent in a minute that have a row each; the rest of the minute is one row with a count. */
const MAX_FAILED_VERIFICATIONS = 5;
/** How many minutes a failed verification is stored, so that one that the queue delivers again is not counted twice. */
const STORED_MINUTES = 60;

const LIMIT = integer(MAX_FAILED_VERIFICATIONS);

/**
 * Assigns to each failed verification of an agent that exists its place in its minute. One that has a place already keeps it.
 *
 * @returns the ids of those that are recorded: the first of their minute. The others are counted.
 */
export async function claimUnproven(db: D1Database, entries: readonly AuditEntry[]): Promise<ReadonlySet<string>> {
  const rows = JSON.stringify(entries.map(({ id, agentId, at, ipAddress }) => ({ id, agentId, at, ipAddress })));
  const [, claimed] = await db.batch<{ id: string }>([
    assignPlaces(db, rows),
    prepare(
      db,
      sql`SELECT f.id FROM json_each(${rows}) r CROSS JOIN failed_verifications f ON f.id = r.value ->> 'id' AND f.place <= ${LIMIT}`,
    ),
  ]);
  return new Set(claimed!.results.map(({ id }) => id));
}

function assignPlaces(db: D1Database, rows: string): D1PreparedStatement {
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO failed_verifications (id, agent_id, minute, place, at, ip_address, recorded)
      SELECT id, agent_id, minute, place, at, ip_address, place <= ${LIMIT} FROM (
        SELECT m.*, row_number() OVER (PARTITION BY m.agent_id, m.minute ORDER BY m.id) + coalesce((
          SELECT max(f.place) FROM failed_verifications f WHERE f.agent_id = m.agent_id AND f.minute = m.minute), 0) AS place
        FROM (
          SELECT DISTINCT value ->> 'id' AS id, value ->> 'agentId' AS agent_id, value ->> 'at' AS at,
            value ->> 'at' / ${integer(MINUTE_MS)} AS minute, coalesce(value ->> 'ipAddress', '') AS ip_address
          FROM json_each(${rows})
        ) m
        WHERE EXISTS (SELECT 1 FROM agents a WHERE a.id = m.agent_id)
          AND NOT EXISTS (SELECT 1 FROM failed_verifications f WHERE f.id = m.id)
      )`,
  );
}

/** The failed verifications of one agent in one minute that have no row of their own and are in no count yet. */
export interface FailedVerifications {
  readonly agentId: string;
  /** Minutes since the epoch. */
  readonly minute: number;
  readonly count: number;
  /** How many addresses they came from. */
  readonly addresses: number;
  /** The address of the newest. */
  readonly ipAddress: string;
  /** The time of the newest, in milliseconds. */
  readonly at: number;
  /** The place of the newest. One that arrives later has a higher place. */
  readonly lastPlace: number;
}

/** Up to `limit` counts of minutes that are over at `now` and have not been written. */
export async function findUncounted(db: D1Database, now: number, limit: number): Promise<FailedVerifications[]> {
  // With max() as the only aggregate of its kind, SQLite takes `at` and `ip_address` from the row that has the maximum.
  const { results } = await prepare(
    db,
    sql`SELECT agent_id AS agentId, minute, count(*) AS count, count(DISTINCT ip_address) AS addresses,
        ip_address AS ipAddress, at, max(place) AS lastPlace
      FROM failed_verifications WHERE recorded = 0 AND minute < ${Math.floor(now / MINUTE_MS)}
      GROUP BY minute, agent_id LIMIT ${limit}`,
  ).all<FailedVerifications>();
  return results;
}

/** The condition that no other run has recorded a count. */
const isUncounted = ({ agentId, minute, lastPlace }: FailedVerifications): Sql =>
  sql`EXISTS (SELECT 1 FROM failed_verifications
    WHERE agent_id = ${agentId} AND minute = ${minute} AND place = ${lastPlace} AND recorded = 0)`;

/** The statements that put a count into the outbox of the audit log, and its event into that of events, unless another run has. */
export const insertCount = (
  db: D1Database,
  verifications: FailedVerifications,
  entry: AuditEntry,
  event: Event,
): D1PreparedStatement[] => [
  prepare(
    db,
    sql`INSERT INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
      SELECT ${entry.agentId}, ${entry.id}, ${entry.part}, ${entry.at}, ${entry.at}, ${JSON.stringify(entry)}
      WHERE ${isUncounted(verifications)}`,
  ),
  prepare(
    db,
    sql`INSERT INTO events (id, agent_id, event, at, data)
      SELECT ${event.id}, ${event.agentId}, ${event.name}, ${event.at}, ${JSON.stringify(event.data)}
      WHERE ${isUncounted(verifications)}`,
  ),
];

/** The statement that marks the failed verifications of a count as recorded. It is the last one in the batch of {@link insertCount}. */
export function markCounted(db: D1Database, { agentId, minute, lastPlace }: FailedVerifications): D1PreparedStatement {
  return prepare(
    db,
    sql`UPDATE failed_verifications SET recorded = 1
      WHERE agent_id = ${agentId} AND minute = ${minute} AND place <= ${lastPlace} AND recorded = 0`,
  );
}

/** Deletes up to `limit` failed verifications that the queue delivers no more. Returns how many. */
export const deleteFailedVerifications = (db: D1Database, now: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM failed_verifications WHERE id IN (
      SELECT id FROM failed_verifications
      WHERE minute < ${Math.floor(now / MINUTE_MS) - STORED_MINUTES} AND recorded = 1 LIMIT ${limit})`,
  );
