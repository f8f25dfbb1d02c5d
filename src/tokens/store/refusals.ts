import { integer, prepare, sql, type Sql } from "../../database/sql.ts";
import { firstRecordIdAt, type AuditEntry } from "../../outbox/record.ts";
import { MINUTE_MS } from "../../time/lengths.ts";

/** Refused verifications of one agent in a minute that have a record each. The rest of the minute is one record, with a count. */
export const MAX_REFUSALS_PER_MINUTE = 5;

/** For how long after its minute a record stays in the outbox: a request that came in the minute may still be under way. */
const LATE_MS = 5_000;
/** How many addresses the record with the count names. */
const MAX_ADDRESSES = 100;

interface Refusal {
  /** As the client sent it. */
  readonly agentId: string;
  readonly record: AuditEntry;
  /** SQL that is true if the verification was refused. */
  readonly isRefused: Sql;
  /** SQL for the id of the key, and for the JSON of the agent, if the key was right; for NULL otherwise. */
  readonly keyId: Sql;
  readonly actor: Sql;
}

/**
 * The statements that record a refused verification: in a record of its own, or by adding it to the count of its minute. These records stay in
 * the outbox until their minute is over, so that nothing else has to be kept to count them. The record is in the agent's own view at once.
 *
 * A stranger can name any id. Refusals of agents that do not exist are recorded together, about no agent, so that the work is the same.
 */
export function recordRefusal(
  db: D1Database,
  { agentId, record, isRefused, keyId, actor }: Refusal,
): D1PreparedStatement[] {
  const { id, at, ipAddress } = record;
  const minute = Math.floor(at / MINUTE_MS);
  const readyAt = (minute + 1) * MINUTE_MS + LATE_MS;
  const subject = sql`coalesce((SELECT id FROM agents WHERE id = ${agentId}), '')`;
  // Nothing is looked up for a verification that was not refused: no row is of the agent NULL.
  const ofMinute = sql`agent_id = iif(${isRefused}, ${subject}, NULL) AND id >= ${firstRecordIdAt(minute * MINUTE_MS)} AND ready_at = ${readyAt}
    AND entry ->> 'action' = 'token.refused'`;
  const text = sql`json_set(${JSON.stringify(record)}, '$.agentId', nullif(${subject}, ''), '$.keyId', ${keyId}, '$.actor', json(${actor}))`;
  const own = integer(MAX_REFUSALS_PER_MINUTE);
  const addresses = sql`iif(json_array_length(entry, '$.after.addresses') >= ${integer(MAX_ADDRESSES)}
      OR EXISTS (SELECT 1 FROM json_each(entry, '$.after.addresses') WHERE value IS ${ipAddress}),
    entry -> '$.after.addresses', json_insert(entry -> '$.after.addresses', '$[#]', ${ipAddress}))`;
  return [
    prepare(
      db,
      sql`INSERT OR IGNORE INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
        SELECT ${subject}, ${id}, 'whole', ${at}, ${readyAt}, iif(n < ${own}, ${text},
          json_set(${text}, '$.count', 1, '$.after', json_object('addresses', json_array(${ipAddress})), '$.message', '1 more failed verifications from 1 address'))
        FROM (SELECT count(*) AS n FROM audit_outbox WHERE ${ofMinute}) WHERE n <= ${own} AND ${isRefused}`,
    ),
    prepare(
      db,
      sql`UPDATE audit_outbox SET entry = (
          SELECT json_set(entry, '$.count', n, '$.after.addresses', json(list), '$.ipAddress', iif(length = 1, ${ipAddress}, NULL),
            '$.keyId', NULL, '$.actor', NULL,
            '$.message', n || ' more failed verifications from ' || length || iif(length = 1, ' address', ' addresses'))
          FROM (SELECT n, list, json_array_length(list) AS length FROM (SELECT (entry ->> 'count') + 1 AS n, ${addresses} AS list)))
        WHERE ${ofMinute} AND id <> ${id} AND entry ->> 'count' IS NOT NULL`,
    ),
  ];
}
