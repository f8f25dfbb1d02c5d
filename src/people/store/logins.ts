import { actorJson, personJson } from "../../authority/actor-row.ts";
import type { PersonAuthority, Role } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEntry, type RecordOrigin } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { Login, PersonStatus } from "../person.ts";
import { jsonOfPerson, SIGNED_IN_JSON, toLogin, type LoginRow } from "../person-row.ts";
import type { ProviderLogin } from "../provider.ts";
import { denyApprovedCodes } from "./device-codes.ts";
import { insertNotice } from "./notices.ts";
import type { PersonalChange, RecordedRequest } from "../change.ts";
import { IS_NOT_THE_LAST } from "./people.ts";
import { insertSession, type NewSession } from "./sessions.ts";

type LoginKey = Pick<ProviderLogin, "issuer" | "subject">;

const isLogin = ({ issuer, subject }: LoginKey): Sql => sql`l.issuer = ${issuer} AND l.subject = ${subject}`;

/** Whose login it is. Undefined: nobody's. */
export async function readLoginPerson(
  db: D1Database,
  login: LoginKey,
): Promise<{ personId: string; status: PersonStatus } | undefined> {
  const row = await prepare(
    db,
    sql`SELECT p.id, p.status FROM person_logins l JOIN people p ON p.id = l.person_id WHERE ${isLogin(login)}`,
  ).first<{ id: string; status: PersonStatus }>();
  return row ? { personId: row.id, status: row.status } : undefined;
}

/** The session that a login opens. */
export interface OpenedLogin {
  readonly session: NewSession;
  /** The role that the provider's claim gives. Undefined: none does. */
  readonly role: Role | undefined;
  /** When the provider says that the person proved who they are, in milliseconds. Null: it does not say, and it counts as long ago. */
  readonly authTime: number | null;
  readonly lifeMs: number;
  /** How long it may enrol a passkey. Null: not at all. */
  readonly enrolMs: number | null;
  /** The hash of the session that the browser had. */
  readonly formerSession: string | null;
  readonly origin: RecordOrigin;
  readonly now: number;
}

/**
 * The statements that give a person the role of the provider's claim, unless nobody would be left who administers the deployment.
 *
 * @param condition SQL that has to be true besides.
 */
function applyRole(
  db: D1Database,
  personId: string,
  { role, origin, now }: Pick<OpenedLogin, "role" | "origin" | "now">,
  condition: Sql,
): D1PreparedStatement[] {
  if (role === undefined) return [];
  const changeId = newChangeId();
  const isChanging = sql`people.id = ${personId} AND people.status = 'active' AND people.role <> ${role} AND ${condition}
    AND (${role === "admin" ? sql`1` : IS_NOT_THE_LAST})`;
  const isChanged = sql`EXISTS (SELECT 1 FROM people WHERE id = ${personId} AND change_id = ${changeId})`;
  const record = newEntry("person.updated", now, origin, { message: "the role that the provider's claim gives" });
  return [
    insertRecordOf(db, record, {
      from: sql`FROM people WHERE ${isChanging}`,
      fields: {
        actor: personJson(personId),
        before: sql`json_object('id', people.id, 'role', people.role)`,
        after: sql`json_object('id', people.id, 'role', ${role})`,
      },
    }),
    prepare(db, sql`UPDATE people SET role = ${role}, change_id = ${changeId} WHERE ${isChanging}`),
    insertNotice(db, { kind: "person.updated", personId, actor: personJson(personId), now }, isChanged),
  ];
}

/** The statements that open a session for a login, if it is the person's, and they have the role that the claim gives. */
function openSession(
  db: D1Database,
  login: LoginKey,
  { session, role, authTime, lifeMs, enrolMs, formerSession, origin, now }: OpenedLogin,
): D1PreparedStatement[] {
  const { id, personId } = session;
  const isOpened = sql`EXISTS (SELECT 1 FROM person_sessions WHERE id = ${id})`;
  const record = newEntry("person.signed_in", now, origin, { sessionId: id });
  return [
    insertSession(db, session, {
      method: "oidc",
      at: DATABASE_NOW,
      enrolUntil: enrolMs === null ? sql`NULL` : sql`${DATABASE_NOW} + ${enrolMs}`,
      lifeMs,
      authTime: authTime === null ? sql`0` : sql`min(${DATABASE_NOW}, ${authTime})`,
      from: sql`FROM person_logins l JOIN people p ON p.id = l.person_id
        WHERE ${isLogin(login)} AND p.id = ${personId} AND p.status = 'active' AND ${role === undefined ? sql`1` : sql`p.role = ${role}`}`,
    }),
    prepare(
      db,
      sql`UPDATE person_logins AS l SET last_used_at = ${DATABASE_NOW} WHERE ${isLogin(login)} AND ${isOpened}`,
    ),
    prepare(db, sql`UPDATE people SET last_signed_in_at = ${DATABASE_NOW} WHERE id = ${personId} AND ${isOpened}`),
    prepare(db, sql`DELETE FROM person_sessions WHERE hash = ${formerSession} AND ${isOpened}`),
    insertRecordOf(db, record, {
      from: sql`FROM person_sessions s WHERE s.id = ${id}`,
      fields: { actor: personJson(personId), after: SIGNED_IN_JSON },
    }),
  ];
}

/** Opens the session of a login. Returns false if the claim would take the role of the last administrator away. */
export async function openByLogin(db: D1Database, login: LoginKey, opened: OpenedLogin): Promise<boolean> {
  const { personId } = opened.session;
  const isTheirs = sql`EXISTS (SELECT 1 FROM person_logins l WHERE ${isLogin(login)} AND l.person_id = ${personId})`;
  const role = applyRole(db, personId, opened, isTheirs);
  const results = await db.batch([...role, ...openSession(db, login, opened)]);
  return results[role.length]!.meta.changes > 0;
}

export interface NewLogin {
  readonly id: string;
  readonly login: ProviderLogin;
  readonly by: PersonAuthority;
  readonly max: number;
}

/**
 * Binds a login to the person in whose session it was begun, and opens a session for it. That session ends.
 *
 * @returns `taken` if it was bound to somebody meanwhile.
 * @throws {AuthorityLostError} if the session has ended.
 */
export async function bindLogin(
  db: D1Database,
  { id, login, by, max }: NewLogin,
  opened: OpenedLogin,
): Promise<"bound" | "taken" | "too_many" | "last_administrator"> {
  const { personId } = by;
  const { origin, now, role: given } = opened;
  const isTaken = sql`EXISTS (SELECT 1 FROM person_logins l WHERE ${isLogin(login)})`;
  const hasRoom = sql`(SELECT count(*) FROM person_logins WHERE person_id = ${personId}) < ${max}`;
  const isBound = sql`EXISTS (SELECT 1 FROM person_logins WHERE id = ${id})`;
  const role = applyRole(db, personId, opened, sql`NOT ${isTaken} AND ${hasRoom}`);
  const record = newEntry("login.created", now, origin, { sessionId: by.sessionId });
  const [before, ...results] = await batchAsCaller<{ taken: number; room: number }>(db, by, [
    prepare(db, sql`SELECT ${isTaken} AS taken, ${hasRoom} AS room`),
    ...role,
    prepare(
      db,
      sql`INSERT INTO person_logins (id, issuer, subject, label, person_id, created_at)
        SELECT ${id}, ${login.issuer}, ${login.subject}, ${login.label}, p.id, ${DATABASE_NOW} FROM people p
        WHERE p.id = ${personId} AND NOT ${isTaken} AND ${hasRoom} AND ${given == null ? sql`1` : sql`p.role = ${given}`}`,
    ),
    prepare(
      db,
      sql`UPDATE people SET joined_at = coalesce(joined_at, ${DATABASE_NOW}) WHERE id = ${personId} AND ${isBound}`,
    ),
    insertNotice(db, { kind: "login.bound", personId, actor: personJson(personId), now }, isBound),
    insertRecordOf(db, record, {
      from: sql`FROM person_logins l WHERE l.id = ${id}`,
      fields: { actor: personJson(personId), after: LOGIN_JSON },
    }),
    ...openSession(db, login, opened),
    prepare(db, sql`DELETE FROM person_sessions WHERE id = ${by.sessionId} AND ${isBound}`),
  ]);
  if (results[role.length]!.meta.changes > 0) return "bound";
  const { taken, room } = before!.results[0]!;
  return taken === 1 ? "taken" : room === 0 ? "too_many" : "last_administrator";
}

/** JSON of what a record says of a login `l`. */
const LOGIN_JSON = sql`json_object('id', l.id, 'person_id', l.person_id, 'issuer', l.issuer, 'subject', l.subject)`;

/** Ends every session of a person from whom the provider has taken the role. */
export async function endAllSessions(
  db: D1Database,
  personId: string,
  { origin, now }: RecordedRequest,
): Promise<void> {
  const record = newEntry("person.session_ended", now, origin, {
    message: "the provider's claim has no role any more",
  });
  await db.batch([
    insertRecordOf(db, record, {
      from: sql`FROM people p WHERE p.id = ${personId} AND EXISTS (SELECT 1 FROM person_sessions s WHERE s.person_id = p.id)`,
      fields: { actor: personJson(personId), before: jsonOfPerson(sql`p`) },
    }),
    prepare(db, sql`DELETE FROM person_sessions WHERE person_id = ${personId}`),
    denyApprovedCodes(db, personId, sql`1`),
  ]);
}

/** The logins of a person, the oldest first. */
export async function readLogins(
  db: D1Database,
  personId: string,
): Promise<{ logins: Login[]; personExists: boolean }> {
  const [logins, people] = await db.batch<LoginRow>([
    prepare(
      db,
      sql`SELECT l.id, l.issuer, l.label, l.created_at, l.last_used_at FROM person_logins l
        WHERE l.person_id = ${personId} ORDER BY l.id`,
    ),
    prepare(db, sql`SELECT 1 FROM people WHERE id = ${personId}`),
  ]);
  return { logins: logins!.results.map(toLogin), personExists: people!.results.length > 0 };
}

/**
 * Deletes a login of a person, unless it is their last way to sign in, and the sessions that logins opened.
 *
 * @param governor an issuer of which the person keeps a login; null for none.
 */
export async function deleteLogin(
  db: D1Database,
  personId: string,
  loginId: string,
  { by, now, origin, governor }: PersonalChange & { readonly governor: string | null },
): Promise<"deleted" | "last" | "governed" | "unknown"> {
  const isIt = sql`l.id = ${loginId} AND l.person_id = ${personId}`;
  const others = sql`person_logins o WHERE o.person_id = ${personId} AND o.id <> ${loginId}`;
  const isGoverned = sql`EXISTS (SELECT 1 FROM person_logins l WHERE ${isIt} AND l.issuer = ${governor}
    AND NOT EXISTS (SELECT 1 FROM ${others} AND o.issuer = ${governor}))`;
  const isSpare = sql`(NOT ${isGoverned} AND (EXISTS (SELECT 1 FROM ${others})
    OR EXISTS (SELECT 1 FROM passkeys k WHERE k.person_id = ${personId})))`;
  const isDeletable = sql`EXISTS (SELECT 1 FROM person_logins l WHERE ${isIt} AND ${isSpare})`;
  const record = newEntry("login.deleted", now, origin, {});
  const [found, , , , deletion] = await batchAsCaller<{ governed: number }>(db, by, [
    prepare(db, sql`SELECT ${isGoverned} AS governed FROM person_logins l WHERE ${isIt}`),
    insertNotice(db, { kind: "login.deleted", personId, actor: actorJson(by), now }, isDeletable),
    insertRecordOf(db, record, {
      from: sql`FROM person_logins l WHERE ${isIt} AND ${isSpare}`,
      fields: { before: LOGIN_JSON },
    }),
    prepare(
      db,
      sql`DELETE FROM person_sessions WHERE person_id = ${personId} AND method = 'oidc' AND id <> ${by.sessionId} AND ${isDeletable}`,
    ),
    prepare(db, sql`DELETE FROM person_logins AS l WHERE ${isIt} AND ${isSpare} RETURNING id`),
  ]);
  if (found!.results.length === 0) return "unknown";
  if (deletion!.results.length > 0) return "deleted";
  return found!.results[0]!.governed === 1 ? "governed" : "last";
}
