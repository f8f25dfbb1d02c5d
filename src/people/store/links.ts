import { actorJson, personJson, RECOVERY_JSON, toActor, type Actor } from "../../authority/actor-row.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { MAKER_STANDS } from "../../authority/person-row.ts";
import { deletedRows, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import { SIGNED_IN_JSON } from "../person-row.ts";
import { insertNotice } from "./notices.ts";
import type { PersonalChange, RecordedRequest, RecoveryRequest } from "../change.ts";
import { insertSession, type NewSession } from "./sessions.ts";

export interface NewLink {
  readonly id: string;
  readonly personId: string;
  /** SHA-256 of its token. */
  readonly hash: string;
  readonly lifeMs: number;
}

/** The statement that inserts a link, if its person exists and is active. @param actor SQL for the JSON of who makes it. */
export const insertLink = (db: D1Database, { id, personId, hash, lifeMs }: NewLink, actor: Sql): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT INTO sign_in_links (id, person_id, hash, created_by, created_at, expires_at)
      SELECT ${id}, p.id, ${hash}, ${actor}, ${DATABASE_NOW}, ${DATABASE_NOW} + ${lifeMs} FROM people p
      WHERE p.id = ${personId} AND p.status = 'active' RETURNING id`,
  );

/**
 * Inserts a link for an active person, and ends those before it, with the session that one of them has opened: whoever used it was not the
 * person, who needs another one. Returns whether there is such a person.
 *
 * @param change an administrator's, or the operator's, who needs no authority but the database.
 */
export async function replaceLinks(
  db: D1Database,
  link: NewLink,
  { by, now, origin }: PersonalChange | RecoveryRequest,
): Promise<boolean> {
  const [authority, actor] = by === "operator" ? [undefined, RECOVERY_JSON] : [by, actorJson(by)];
  const isActive = sql`EXISTS (SELECT 1 FROM people WHERE id = ${link.personId} AND status = 'active')`;
  const [, , , , inserted] = await batchAsCaller(db, authority, [
    prepare(db, sql`DELETE FROM sign_in_links WHERE person_id = ${link.personId} AND used_at IS NULL AND ${isActive}`),
    prepare(
      db,
      sql`DELETE FROM person_sessions WHERE person_id = ${link.personId} AND method = 'link' AND ${isActive}`,
    ),
    insertNotice(db, { kind: "link.created", personId: link.personId, actor, now }, isActive),
    insertRecordOf(db, newEntry("link.created", now, origin, {}), {
      from: sql`FROM people p WHERE p.id = ${link.personId} AND p.status = 'active'`,
      fields: { after: sql`json_object('id', ${link.id}, 'person_id', p.id)` },
    }),
    insertLink(db, link, actor),
  ]);
  return inserted!.results.length > 0;
}

/** A link that has not been used and has not expired. */
export interface OpenLink {
  readonly personId: string;
  readonly email: string;
  readonly name: string;
  readonly createdBy: Actor;
  /** Milliseconds. */
  readonly expiresAt: number;
}

const isOpen = (hash: string): Sql =>
  sql`l.hash = ${hash} AND l.used_at IS NULL AND l.expires_at > ${DATABASE_NOW} AND ${MAKER_STANDS}
    AND EXISTS (SELECT 1 FROM people p WHERE p.id = l.person_id AND p.status = 'active')`;

export async function readOpenLink(db: D1Database, hash: string): Promise<OpenLink | undefined> {
  const row = await prepare(
    db,
    sql`SELECT o.id, o.email, o.name, l.created_by, l.expires_at FROM sign_in_links l JOIN people o ON o.id = l.person_id
      WHERE ${isOpen(hash)}`,
  ).first<{ id: string; email: string; name: string; created_by: string; expires_at: number }>();
  if (!row) return undefined;
  const { id, email, name, created_by, expires_at } = row;
  return { personId: id, email, name, createdBy: toActor(created_by) as Actor, expiresAt: expires_at };
}

/**
 * Uses a link up and opens its session, if it is still open and of the session's person. Of two who use it at once, one gets the session.
 */
export async function openByLink(
  db: D1Database,
  hash: string,
  session: NewSession,
  { lifeMs, now, origin }: RecordedRequest & { lifeMs: number },
): Promise<boolean> {
  const { personId } = session;
  const isOpened = sql`EXISTS (SELECT 1 FROM person_sessions WHERE id = ${session.id})`;
  const actor = personJson(personId);
  const [, opened] = await db.batch([
    prepare(
      db,
      sql`UPDATE sign_in_links AS l SET used_at = ${DATABASE_NOW}, session_id = ${session.id}
        WHERE ${isOpen(hash)} AND l.person_id = ${personId}`,
    ),
    insertSession(db, session, {
      method: "link",
      at: sql`l.used_at`,
      enrolUntil: sql`l.used_at + ${lifeMs}`,
      lifeMs,
      from: sql`FROM sign_in_links l WHERE l.hash = ${hash} AND l.session_id = ${session.id}`,
    }),
    insertNotice(db, { kind: "link.used", personId, actor, now }, isOpened),
    insertRecordOf(db, newEntry("person.signed_in", now, origin, { sessionId: session.id }), {
      from: sql`FROM person_sessions s WHERE s.id = ${session.id}`,
      fields: { actor, after: SIGNED_IN_JSON },
    }),
  ]);
  return opened!.meta.changes > 0;
}

/** Deletes up to `limit` links that have expired at `until`. Returns how many. @param until milliseconds. */
export const deleteExpiredLinks = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM sign_in_links WHERE id IN (
      SELECT id FROM sign_in_links WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );
