import { actorJson, personJson } from "../../authority/actor-row.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { deletedRows, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { PersonalChange, RecordedRequest } from "../change.ts";
import { insertNotice } from "./notices.ts";
import { insertSession, type NewSession } from "./sessions.ts";

/** A command that waits, but for its times, which are the database's. */
export interface NewDeviceCode {
  /** SHA-256 of the device code. */
  readonly hash: string;
  /** HMAC of the user code. */
  readonly userCodeHash: string;
  readonly clientId: string;
  readonly ipAddress: string;
  readonly userAgent: string;
  readonly lifeMs: number;
  readonly pollSeconds: number;
}

/** Inserts it. Returns false if another command that waits has the same user code. */
export async function insertDeviceCode(db: D1Database, code: NewDeviceCode): Promise<boolean> {
  const { hash, userCodeHash, clientId, ipAddress, userAgent, lifeMs, pollSeconds } = code;
  const { meta } = await prepare(
    db,
    sql`INSERT INTO device_codes (hash, user_code_hash, client_id, ip_address, user_agent, created_at, expires_at, poll_seconds,
        polls_from, shown)
      VALUES (${hash}, ${userCodeHash}, ${clientId}, ${ipAddress}, ${userAgent}, ${DATABASE_NOW}, ${DATABASE_NOW} + ${lifeMs},
        ${pollSeconds}, ${DATABASE_NOW}, 0)
      ON CONFLICT DO NOTHING`,
  ).run();
  return meta.changes > 0;
}

/** What a person is shown of a command that waits. Times are milliseconds. */
export interface WaitingCommand {
  readonly clientId: string;
  readonly ipAddress: string;
  readonly userAgent: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** SQL that is true for a row of `device_codes` that a person can decide. @param hashes of the user code, under each pepper. */
const isOpen = (hashes: readonly string[]): Sql =>
  sql`user_code_hash IN (SELECT value FROM json_each(${JSON.stringify(hashes)}))
    AND decision IS NULL AND expires_at > ${DATABASE_NOW}`;

/** The command that waits under a user code, if it was not shown too often. Counts that it is shown. */
export async function showDeviceCode(
  db: D1Database,
  hashes: readonly string[],
  maxShown: number,
): Promise<WaitingCommand | undefined> {
  const row = await prepare(
    db,
    sql`UPDATE device_codes SET shown = shown + 1 WHERE ${isOpen(hashes)} AND shown < ${maxShown}
      RETURNING client_id, ip_address, user_agent, created_at, expires_at`,
  ).first<{ client_id: string; ip_address: string; user_agent: string; created_at: number; expires_at: number }>();
  return row
    ? {
        clientId: row.client_id,
        ipAddress: row.ip_address,
        userAgent: row.user_agent,
        createdAt: row.created_at,
        expiresAt: row.expires_at,
      }
    : undefined;
}

/**
 * Decides about a command that has been shown, with a record of which it was. Who lets one in is told, and so are the administrators.
 *
 * @returns whether it was open.
 */
export async function decideDeviceCode(
  db: D1Database,
  hashes: readonly string[],
  decision: "approved" | "denied",
  { by, now, origin }: PersonalChange,
): Promise<boolean> {
  const isDecidable = sql`${isOpen(hashes)} AND shown > 0`;
  const isApproval = sql`(${decision} = 'approved' AND EXISTS (SELECT 1 FROM device_codes WHERE ${isDecidable}))`;
  const command = sql`json_object('decision', ${decision}, 'client_id', d.client_id, 'ip_address', d.ip_address, 'user_agent', d.user_agent)`;
  const [, , decided] = await batchAsCaller(db, by, [
    insertNotice(db, { kind: "command.approved", personId: by.personId, actor: actorJson(by), now }, isApproval),
    insertRecordOf(db, newEntry("command.decided", now, origin, {}), {
      from: sql`FROM device_codes d WHERE ${isDecidable}`,
      fields: { after: command },
    }),
    prepare(
      db,
      sql`UPDATE device_codes SET decision = ${decision}, person_id = ${by.personId}, decided_at = ${DATABASE_NOW}
        WHERE ${isDecidable}`,
    ),
  ]);
  return decided!.meta.changes > 0;
}

/**
 * The statement by which commands are not let in any more that a person has let in, and that have not heard of it yet: with the person's
 * sessions, theirs end too.
 *
 * @param condition SQL that has to be true besides.
 */
export const denyApprovedCodes = (db: D1Database, personId: string, condition: Sql): D1PreparedStatement =>
  prepare(
    db,
    sql`UPDATE device_codes SET decision = 'denied' WHERE person_id = ${personId} AND decision = 'approved' AND ${condition}`,
  );

/** What a device code is good for now. */
export type PolledCode = "unknown" | "expired" | "pending" | "too_early" | "denied" | "signed_in";

/**
 * Asks what has become of a command, and opens its session if a person has let it in. The code is used up by that. Asked too early, it
 * has to wait 5 seconds longer from then on (RFC 8628 §3.5).
 *
 * @param session of whom the code says.
 */
export async function pollDeviceCode(
  db: D1Database,
  hash: string,
  {
    session,
    lifeMs,
    now,
    origin,
  }: RecordedRequest & { session: Omit<NewSession, "personId"> & { readonly clientId: string }; lifeMs: number },
): Promise<PolledCode> {
  const isIt = sql`hash = ${hash} AND client_id = ${session.clientId}`;
  const isOpened = sql`EXISTS (SELECT 1 FROM person_sessions WHERE id = ${session.id})`;
  const [found, , , , used] = await db.batch<{ decision: string | null; is_expired: number; is_early: number }>([
    prepare(
      db,
      sql`SELECT decision, expires_at <= ${DATABASE_NOW} AS is_expired, polls_from > ${DATABASE_NOW} AS is_early
        FROM device_codes WHERE ${isIt}`,
    ),
    prepare(
      db,
      // A second of grace: the way of a request takes now more, now less.
      sql`UPDATE device_codes SET polls_from = ${DATABASE_NOW} + 1000 * poll_seconds - 1000
          + iif(polls_from > ${DATABASE_NOW}, 5000, 0),
          poll_seconds = poll_seconds + iif(polls_from > ${DATABASE_NOW} AND poll_seconds < 60, 5, 0)
        WHERE ${isIt} AND decision IS NULL`,
    ),
    insertSession(
      db,
      // The person is that of the code.
      { ...session, personId: sql`d.person_id` },
      {
        method: "passkey",
        at: sql`d.decided_at`,
        enrolUntil: sql`NULL`,
        lifeMs,
        from: sql`FROM device_codes d JOIN people p ON p.id = d.person_id
          WHERE d.hash = ${hash} AND d.client_id = ${session.clientId} AND d.decision = 'approved'
            AND d.expires_at > ${DATABASE_NOW} AND p.status = 'active'`,
      },
    ),
    insertRecordOf(db, newEntry("person.signed_in", now, origin, { sessionId: session.id }), {
      from: sql`FROM person_sessions s WHERE s.id = ${session.id}`,
      fields: {
        actor: personJson(sql`s.person_id`),
        after: sql`json_object('method', 'device', 'client_id', s.client_id)`,
      },
    }),
    prepare(db, sql`DELETE FROM device_codes WHERE ${isIt} AND ${isOpened}`),
  ]);
  const row = found!.results[0];
  if (used!.meta.changes > 0) return "signed_in";
  if (!row) return "unknown";
  if (row.is_expired === 1) return "expired";
  if (row.decision === null) return row.is_early === 1 ? "too_early" : "pending";
  // Also if the person who let it in has been suspended since.
  return "denied";
}

/** Deletes up to `limit` codes that have expired. Returns how many. @param now milliseconds. */
export const deleteExpiredDeviceCodes = (db: D1Database, now: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    // A command that asks once more is told that its code has expired, for an hour.
    sql`DELETE FROM device_codes WHERE hash IN (
      SELECT hash FROM device_codes WHERE expires_at <= ${now - 3_600_000} ORDER BY expires_at LIMIT ${limit})`,
  );
