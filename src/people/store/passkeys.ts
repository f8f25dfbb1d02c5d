import { actorJson, personJson } from "../../authority/actor-row.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { SESSION_LIFE_MS } from "../../authority/person-row.ts";
import { deletedRows, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW, toTimestamp } from "../../database/time.ts";
import { newEntry, type RecordOrigin } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { Passkey } from "../person.ts";
import { PASSKEY_COLUMNS, SIGNED_IN_JSON, toPasskey, type PasskeyRow } from "../person-row.ts";
import type { NewPasskey, PublicKey } from "../webauthn.ts";
import { denyApprovedCodes } from "./device-codes.ts";
import { insertNotice } from "./notices.ts";
import type { PersonalChange } from "../change.ts";
import { insertSession, type NewSession } from "./sessions.ts";

/** The key of a passkey, and whose it is. */
export interface StoredPasskey {
  readonly id: string;
  readonly personId: string;
  readonly publicKey: PublicKey;
}

/** The passkey with this credential id. */
export async function readPasskey(db: D1Database, credentialId: string): Promise<StoredPasskey | undefined> {
  const row = await prepare(
    db,
    sql`SELECT id, person_id, public_key FROM passkeys WHERE credential_id = ${credentialId}`,
  ).first<{ id: string; person_id: string; public_key: string }>();
  return row ? { id: row.id, personId: row.person_id, publicKey: JSON.parse(row.public_key) as PublicKey } : undefined;
}

/** An assertion whose signature has been verified. */
export interface VerifiedAssertion {
  readonly passkeyId: string;
  readonly challenge: string;
  /** When the challenge expires, in milliseconds. */
  readonly expiresAt: number;
  /** The signature counter; 0 if the authenticator does not count. */
  readonly counter: number;
}

/**
 * The statements that use an assertion up: its challenge is good once, and its counter must be higher than the last one
 * (https://www.w3.org/TR/webauthn-3/#sctn-sign-counter), because a second authenticator with the same key counts for itself. The
 * first fails, and so rolls the batch back, if the challenge was answered before.
 *
 * @param when SQL about passkey `passkeys` that has to be true besides.
 */
const useAssertion = (
  db: D1Database,
  { passkeyId, challenge, expiresAt, counter }: VerifiedAssertion,
  when: Sql,
): D1PreparedStatement[] => [
  prepare(db, sql`INSERT INTO used_challenges (id, expires_at) VALUES (${challenge}, ${expiresAt})`),
  prepare(
    db,
    sql`UPDATE passkeys SET counter = ${counter}, last_used_at = ${DATABASE_NOW}, last_challenge = ${challenge}
      WHERE id = ${passkeyId} AND (counter < ${counter} OR (counter = 0 AND ${counter} = 0)) AND ${when}
        AND EXISTS (SELECT 1 FROM people p WHERE p.id = passkeys.person_id AND p.status = 'active')
      RETURNING id`,
  ),
];

/** What D1 says of a challenge that was answered before. */
const isUsed = (cause: unknown): boolean =>
  cause instanceof Error && cause.message.includes("UNIQUE constraint failed: used_challenges.id");

/**
 * Signs a person in by a passkey. Returns false if the challenge was used, the counter is not higher, or the person is suspended or has a
 * login at `governor`.
 *
 * @param governor the provider that gives the roles. Null: none does.
 */
export async function openByPasskey(
  db: D1Database,
  assertion: VerifiedAssertion,
  session: NewSession,
  { governor, origin, now }: { governor: string | null; origin: RecordOrigin; now: number },
): Promise<boolean> {
  const { id, personId } = session;
  const isGoverned = sql`EXISTS (SELECT 1 FROM person_logins l WHERE l.person_id = passkeys.person_id AND l.issuer = ${governor})`;
  const record = newEntry("person.signed_in", now, origin, { sessionId: id });
  try {
    const results = await db.batch([
      ...useAssertion(db, assertion, sql`person_id = ${personId} AND NOT ${isGoverned}`),
      // Only the use above, of a passkey of the session's person, makes this challenge the last one.
      insertSession(db, session, {
        method: "passkey",
        at: sql`k.last_used_at`,
        enrolUntil: sql`NULL`,
        lifeMs: SESSION_LIFE_MS,
        from: sql`FROM passkeys k WHERE k.id = ${assertion.passkeyId} AND k.last_challenge = ${assertion.challenge}`,
      }),
      prepare(
        db,
        sql`UPDATE people SET last_signed_in_at = ${DATABASE_NOW}
          WHERE id = ${personId} AND EXISTS (SELECT 1 FROM person_sessions WHERE id = ${id})`,
      ),
      insertRecordOf(db, record, {
        from: sql`FROM person_sessions s WHERE s.id = ${id}`,
        fields: { actor: personJson(personId), after: SIGNED_IN_JSON },
      }),
    ]);
    return results[2]!.meta.changes > 0;
  } catch (cause) {
    if (isUsed(cause)) return false;
    throw cause;
  }
}

/** How a confirmation ended. `too_new`: the passkey may not confirm anything yet. */
export type Confirmation = "confirmed" | "refused" | "too_new";

/** Uses an assertion up that confirms one act. */
export async function useForAct(db: D1Database, assertion: VerifiedAssertion, personId: string): Promise<Confirmation> {
  try {
    const results = await db.batch<{ id: string; too_new: number }>([
      ...useAssertion(db, assertion, sql`person_id = ${personId} AND decides_from <= ${DATABASE_NOW}`),
      prepare(
        db,
        sql`SELECT decides_from > ${DATABASE_NOW} AS too_new FROM passkeys WHERE id = ${assertion.passkeyId}`,
      ),
    ]);
    if (results[1]!.results.length > 0) return "confirmed";
    return results[2]!.results[0]?.too_new === 1 ? "too_new" : "refused";
  } catch (cause) {
    if (isUsed(cause)) return "refused";
    throw cause;
  }
}

/** The credential ids and the details of a person's passkeys, the oldest first. */
export async function readPasskeys(
  db: D1Database,
  personId: string,
): Promise<{ passkeys: Passkey[]; credentialIds: string[]; personExists: boolean }> {
  const [passkeys, people] = await db.batch<PasskeyRow & { credential_id: string }>([
    prepare(
      db,
      sql`SELECT ${PASSKEY_COLUMNS}, k.credential_id FROM passkeys k WHERE k.person_id = ${personId} ORDER BY k.id`,
    ),
    prepare(db, sql`SELECT 1 FROM people WHERE id = ${personId}`),
  ]);
  return {
    passkeys: passkeys!.results.map(toPasskey),
    credentialIds: passkeys!.results.map(({ credential_id }) => credential_id),
    personExists: people!.results.length > 0,
  };
}

export interface PasskeyRowToInsert {
  readonly id: string;
  readonly label: string;
  readonly passkey: NewPasskey;
  readonly challenge: string;
  /** When the challenge expires, in milliseconds. */
  readonly expiresAt: number;
  /** Whether the person has confirmed it with a passkey that they have. */
  readonly isConfirmed: boolean;
}

/**
 * Inserts a passkey of the person who is signed in, if they have confirmed it with another one or their session may enrol one. It may
 * confirm acts at once if it is their first, and otherwise after the wait. A session that a link opened ends with it.
 *
 * @returns the passkey; undefined if it may not be enrolled, if the challenge was used, or if the credential is known already.
 */
export async function insertPasskey(
  db: D1Database,
  { id, label, passkey, challenge, expiresAt, isConfirmed }: PasskeyRowToInsert,
  { by, now, origin, waitMs, max }: PersonalChange & { waitMs: number; max: number },
): Promise<Passkey | undefined> {
  const isInserted = sql`EXISTS (SELECT 1 FROM passkeys WHERE id = ${id})`;
  const mayEnrol = isConfirmed ? sql`1` : sql`s.enrol_until > ${DATABASE_NOW}`;
  try {
    const results = await batchAsCaller<PasskeyRow>(db, by, [
      prepare(db, sql`INSERT INTO used_challenges (id, expires_at) VALUES (${challenge}, ${expiresAt})`),
      prepare(
        db,
        sql`INSERT INTO passkeys (id, person_id, credential_id, public_key, counter, label, created_at, decides_from)
          SELECT ${id}, p.id, ${passkey.credentialId}, ${JSON.stringify(passkey.publicKey)}, ${passkey.counter}, ${label},
            ${DATABASE_NOW}, ${DATABASE_NOW} + iif(p.enrolled_at IS NULL, 0, ${waitMs})
          FROM people p JOIN person_sessions s ON s.person_id = p.id
          WHERE p.id = ${by.personId} AND s.id = ${by.sessionId} AND ${mayEnrol}
            AND (SELECT count(*) FROM passkeys WHERE person_id = p.id) < ${max}
            AND NOT EXISTS (SELECT 1 FROM passkeys WHERE credential_id = ${passkey.credentialId})`,
      ),
      prepare(
        db,
        sql`UPDATE people SET joined_at = coalesce(joined_at, ${DATABASE_NOW}), enrolled_at = coalesce(enrolled_at, ${DATABASE_NOW})
          WHERE id = ${by.personId} AND ${isInserted}`,
      ),
      insertNotice(db, { kind: "passkey.enrolled", personId: by.personId, actor: actorJson(by), now }, isInserted),
      insertRecordOf(db, newEntry("passkey.created", now, origin, {}), {
        from: sql`FROM passkeys k WHERE k.id = ${id}`,
        fields: { after: PASSKEY_JSON },
      }),
      prepare(db, sql`DELETE FROM person_sessions WHERE id = ${by.sessionId} AND method = 'link' AND ${isInserted}`),
      prepare(db, sql`SELECT ${PASSKEY_COLUMNS} FROM passkeys k WHERE k.id = ${id}`),
    ]);
    const row = results.at(-1)!.results[0];
    return row && toPasskey(row);
  } catch (cause) {
    if (isUsed(cause)) return undefined;
    throw cause;
  }
}

/** JSON of what a record says of a passkey `k`. */
const PASSKEY_JSON = sql`json_object('id', k.id, 'person_id', k.person_id, 'label', k.label, 'decides_from', ${toTimestamp(sql`k.decides_from`)})`;

/** Deletes a passkey of a person, unless it is their last one and no login is bound to them. */
export async function deletePasskey(
  db: D1Database,
  personId: string,
  passkeyId: string,
  { by, now, origin }: PersonalChange,
): Promise<"deleted" | "last" | "unknown"> {
  const isIt = sql`id = ${passkeyId} AND person_id = ${personId}`;
  const isSpare = sql`(EXISTS (SELECT 1 FROM passkeys o WHERE o.person_id = ${personId} AND o.id <> ${passkeyId})
    OR EXISTS (SELECT 1 FROM person_logins l WHERE l.person_id = ${personId}))`;
  const isDeletable = sql`EXISTS (SELECT 1 FROM passkeys WHERE ${isIt} AND ${isSpare})`;
  const [found, , , , , deletion] = await batchAsCaller(db, by, [
    prepare(db, sql`SELECT 1 FROM passkeys WHERE ${isIt}`),
    insertNotice(db, { kind: "passkey.deleted", personId, actor: actorJson(by), now }, isDeletable),
    insertRecordOf(db, newEntry("passkey.deleted", now, origin, {}), {
      from: sql`FROM passkeys k WHERE k.id = ${passkeyId} AND ${isDeletable}`,
      fields: { before: PASSKEY_JSON },
    }),
    // No session says which of the passkeys opened it, and no command that waits for its session which of them has let it in.
    prepare(
      db,
      sql`DELETE FROM person_sessions WHERE person_id = ${personId} AND method = 'passkey' AND id <> ${by.sessionId} AND ${isDeletable}`,
    ),
    denyApprovedCodes(db, personId, isDeletable),
    prepare(db, sql`DELETE FROM passkeys WHERE ${isIt} AND ${isSpare} RETURNING id`),
  ]);
  if (found!.results.length === 0) return "unknown";
  return deletion!.results.length > 0 ? "deleted" : "last";
}

/** Deletes up to `limit` challenges that have expired. Returns how many. @param now milliseconds. */
export const deleteExpiredChallenges = (db: D1Database, now: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM used_challenges WHERE id IN (
      SELECT id FROM used_challenges WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${limit})`,
  );
