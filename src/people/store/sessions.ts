import { personJson } from "../../authority/actor-row.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { PERSON_SESSION_STANDS, SESSION_IDLE_MS } from "../../authority/person-row.ts";
import { deletedRows, integer, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { Person, PersonSession, SignInMethod } from "../person.ts";
import {
  PERSON_COLUMNS,
  SESSION_COLUMNS,
  toPerson,
  toPersonSession,
  type PersonRow,
  type SessionRow,
} from "../person-row.ts";
import type { PersonalChange, RecordedRequest } from "../change.ts";

/** What a new session is, but for its times, which are the database's. */
export interface NewSession {
  readonly id: string;
  readonly personId: string;
  /** The command that has it; undefined for a browser. */
  readonly clientId?: string;
  /** SHA-256 of its token. */
  readonly hash: string;
  readonly ipAddress: string;
  readonly userAgent: string;
}

/** How and when a session is opened. */
interface OpenedBy {
  readonly method: SignInMethod;
  /** SQL for the time at which it is opened, and for that until which it may enrol a passkey, which may be NULL. */
  readonly at: Sql;
  readonly enrolUntil: Sql;
  readonly lifeMs: number;
  /** SQL for the last proof of who the person is, if that was not just now. */
  readonly authTime?: Sql;
  /** `FROM … WHERE …`: without a row, no session is opened. */
  readonly from: Sql;
}

/** The statement that opens a session of a person, whose id may be SQL. */
export const insertSession = (
  db: D1Database,
  {
    id,
    personId,
    clientId,
    hash,
    ipAddress,
    userAgent,
  }: Omit<NewSession, "personId"> & { readonly personId: string | Sql },
  { method, at, enrolUntil, lifeMs, authTime = at, from }: OpenedBy,
): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT INTO person_sessions (id, person_id, hash, method, auth_time, enrol_until, created_at, last_used_at, expires_at,
        ip_address, user_agent, client_id)
      SELECT ${id}, ${personId}, ${hash}, ${method}, ${authTime}, ${enrolUntil}, ${at}, ${at}, ${at} + ${lifeMs}, ${ipAddress}, ${userAgent},
        ${clientId ?? null}
      ${from}`,
  );

/** A use of a session is written if the last one that was written is so long ago, in milliseconds: a read costs no write. */
const USE_STEP_MS = 300_000;

export interface FoundSession {
  readonly session: PersonSession;
  readonly person: Person;
  /** Whether the agent that was asked about is the person's. */
  readonly ownsAgent: boolean;
  /** Whether its last use has to be written. */
  readonly isStale: boolean;
}

/** The session with this hash and its person, if it stands. @param agentId the agent of which the owner is asked for. */
export async function readSession(
  db: D1Database,
  hash: string,
  agentId: string | undefined,
): Promise<FoundSession | undefined> {
  const row = await prepare(
    db,
    sql`SELECT ${PERSON_COLUMNS}, ${SESSION_COLUMNS}, s.last_used_at < ${DATABASE_NOW} - ${integer(USE_STEP_MS)} AS is_stale,
        EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId ?? null} AND a.owner_person_id = p.id) AS owns_agent
      FROM person_sessions s JOIN people p ON p.id = s.person_id WHERE s.hash = ${hash} AND ${PERSON_SESSION_STANDS}`,
  ).first<PersonRow & SessionRow & { is_stale: number; owns_agent: number }>();
  if (!row) return undefined;
  return {
    session: toPersonSession(row),
    person: toPerson(row),
    ownsAgent: row.owns_agent === 1,
    isStale: row.is_stale === 1,
  };
}

/** Writes that a session is used. One that has been idle for too long does not begin to live again. */
export async function touchSession(db: D1Database, id: string): Promise<void> {
  await prepare(
    db,
    sql`UPDATE person_sessions SET last_used_at = ${DATABASE_NOW}
      WHERE id = ${id} AND last_used_at > ${DATABASE_NOW} - ${integer(SESSION_IDLE_MS)}`,
  ).run();
}

/** The sessions of a person that stand, the newest first, after an id; and whether there is such a person. */
export async function readSessions(
  db: D1Database,
  personId: string,
  { limit, before }: { limit: number; before: string | undefined },
): Promise<{ sessions: PersonSession[]; personExists: boolean }> {
  const [sessions, people] = await db.batch<SessionRow>([
    prepare(
      db,
      sql`SELECT ${SESSION_COLUMNS} FROM person_sessions s JOIN people p ON p.id = s.person_id
        WHERE s.person_id = ${personId} AND ${PERSON_SESSION_STANDS} AND s.id < ${before ?? "~"}
        ORDER BY s.id DESC LIMIT ${limit}`,
    ),
    prepare(db, sql`SELECT 1 FROM people WHERE id = ${personId}`),
  ]);
  return { sessions: sessions!.results.map(toPersonSession), personExists: people!.results.length > 0 };
}

/** Ends a session of a person. Returns whether there was one. */
export async function deleteSession(
  db: D1Database,
  personId: string,
  sessionId: string,
  { by, now, origin }: PersonalChange,
): Promise<boolean> {
  const [, deleted] = await batchAsCaller(db, by, [
    insertRecordOf(db, newEntry("person.session_ended", now, origin, {}), {
      from: sql`FROM person_sessions s WHERE s.id = ${sessionId} AND s.person_id = ${personId}`,
      fields: { before: SESSION_JSON },
    }),
    prepare(db, sql`DELETE FROM person_sessions WHERE id = ${sessionId} AND person_id = ${personId} RETURNING id`),
  ]);
  return deleted!.results.length > 0;
}

/** JSON of what a record says of a session `s` that ends. */
const SESSION_JSON = sql`json_object('id', s.id, 'person_id', s.person_id, 'method', s.method)`;

/** Ends the session with this hash, which its own person does. */
export async function deleteSessionByHash(
  db: D1Database,
  hash: string,
  { now, origin }: RecordedRequest,
): Promise<void> {
  await db.batch([
    insertRecordOf(db, newEntry("person.session_ended", now, origin, {}), {
      from: sql`FROM person_sessions s WHERE s.hash = ${hash}`,
      fields: { actor: personJson(sql`s.person_id`), sessionId: sql`s.id`, before: SESSION_JSON },
    }),
    prepare(db, sql`DELETE FROM person_sessions WHERE hash = ${hash}`),
  ]);
}

/** Deletes up to `limit` sessions that have expired, or that have not been used for too long. Returns how many. @param now milliseconds. */
export const deleteExpiredSessions = (db: D1Database, now: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM person_sessions WHERE id IN (
      SELECT id FROM person_sessions WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${limit})`,
  );
