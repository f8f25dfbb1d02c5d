import { actorJson, BOOTSTRAP_JSON } from "../../authority/actor-row.ts";
import type { Role } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { IS_ADMINISTRATOR } from "../../authority/person-row.ts";
import { assignments, join, prepare, sql, type Sql, type SqlValue } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { PersonalChange, RecordedRequest } from "../change.ts";
import type { Person, PersonStatus } from "../person.ts";
import { jsonOfPerson, PERSON_COLUMNS, toPerson, type PersonRow } from "../person-row.ts";
import { insertLink, type NewLink } from "./links.ts";
import { denyApprovedCodes } from "./device-codes.ts";
import { insertNotice } from "./notices.ts";

export interface NewPersonRow {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly role: Role;
}

/** Inserts the first person, with a link, unless there is any person already. Returns whether it was inserted. */
export async function insertFirstPerson(
  db: D1Database,
  person: NewPersonRow,
  link: NewLink,
  request: RecordedRequest,
): Promise<boolean> {
  const [inserted] = await db.batch([
    insertPersonIf(db, person, BOOTSTRAP_JSON, sql`NOT EXISTS (SELECT 1 FROM people)`),
    insertLink(db, link, BOOTSTRAP_JSON),
    recordCreated(db, person.id, request),
  ]);
  return inserted!.meta.changes > 0;
}

/** Inserts a person, with a link, unless one has the address already. Returns whether it was inserted. */
export async function insertPerson(
  db: D1Database,
  person: NewPersonRow,
  link: NewLink,
  { by, now, origin }: PersonalChange,
): Promise<boolean> {
  const actor = actorJson(by);
  const isNew = sql`NOT EXISTS (SELECT 1 FROM people WHERE email = ${person.email})`;
  const exists = sql`EXISTS (SELECT 1 FROM people WHERE id = ${person.id})`;
  const [inserted] = await batchAsCaller(db, by, [
    insertPersonIf(db, person, actor, isNew),
    insertLink(db, link, actor),
    insertNotice(db, { kind: "person.created", personId: person.id, actor, now }, exists),
    recordCreated(db, person.id, { now, origin }),
  ]);
  return inserted!.meta.changes > 0;
}

/** The statement that records that there is a new person. */
const recordCreated = (db: D1Database, id: string, { now, origin }: RecordedRequest): D1PreparedStatement =>
  insertRecordOf(db, newEntry("person.created", now, origin, {}), {
    from: sql`FROM people p WHERE p.id = ${id}`,
    fields: { after: jsonOfPerson(sql`p`) },
  });

const insertPersonIf = (
  db: D1Database,
  { id, email, name, role }: NewPersonRow,
  actor: Sql,
  condition: Sql,
): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT INTO people (id, email, name, role, status, created_by, created_at)
      SELECT ${id}, ${email}, ${name}, ${role}, 'active', ${actor}, ${DATABASE_NOW} WHERE ${condition}`,
  );

/** One page of people after an id, the oldest first. */
export async function readPeople(db: D1Database, after: string, limit: number): Promise<Person[]> {
  const { results } = await prepare(
    db,
    sql`SELECT ${PERSON_COLUMNS} FROM people p WHERE p.id > ${after} ORDER BY p.id LIMIT ${limit}`,
  ).all<PersonRow>();
  return results.map(toPerson);
}

const selectPerson = (db: D1Database, id: string): D1PreparedStatement =>
  prepare(db, sql`SELECT ${PERSON_COLUMNS} FROM people p WHERE p.id = ${id}`);

export async function readPerson(db: D1Database, id: string): Promise<Person | undefined> {
  const row = await selectPerson(db, id).first<PersonRow>();
  return row ? toPerson(row) : undefined;
}

export async function readPersonByEmail(db: D1Database, email: string): Promise<Person | undefined> {
  const row = await prepare(
    db,
    sql`SELECT ${PERSON_COLUMNS} FROM people p WHERE p.email = ${email}`,
  ).first<PersonRow>();
  return row ? toPerson(row) : undefined;
}

/** New values of a person. What is undefined stays as it is. */
export interface PersonChange {
  readonly name?: string | undefined;
  readonly email?: string | undefined;
  readonly role?: Role | undefined;
  readonly status?: PersonStatus | undefined;
}

/**
 * SQL that is true of person `people` if they do not administer the deployment, or somebody else does. As a part of the statement
 * that takes the role away, it holds for the first of two administrators who do so at once, and not for the second.
 */
export const IS_NOT_THE_LAST = sql`(NOT EXISTS (SELECT 1 FROM people p WHERE p.id = people.id AND ${IS_ADMINISTRATOR})
  OR EXISTS (SELECT 1 FROM people p WHERE p.id <> people.id AND ${IS_ADMINISTRATOR}))`;

/**
 * Changes a person, unless that would leave nobody who administers the deployment, or another person has the address. Somebody who is
 * suspended is signed out.
 *
 * @returns whether a value was changed, and the person as they are now.
 */
export async function updatePerson(
  db: D1Database,
  id: string,
  change: PersonChange,
  { by, now, origin }: PersonalChange,
): Promise<{ changed: boolean; person: Person | undefined; emailTaken: boolean }> {
  const changeId = newChangeId();
  const values = (["name", "email", "role", "status"] as const).flatMap((key) => {
    const value: SqlValue | undefined = change[key];
    return value === undefined ? [] : [{ key, column: COLUMNS[key], value }];
  });
  const { set, differs } = assignments(values);
  const keepsAdministrator =
    (change.role !== undefined && change.role !== "admin") || change.status === "suspended" ? IS_NOT_THE_LAST : sql`1`;
  const isTaken =
    change.email === undefined
      ? sql`0`
      : sql`EXISTS (SELECT 1 FROM people other WHERE other.email = ${change.email} AND other.id <> ${id})`;
  const isChanged = sql`EXISTS (SELECT 1 FROM people WHERE id = ${id} AND change_id = ${changeId})`;
  const isChanging = sql`id = ${id} AND (${differs}) AND NOT ${isTaken} AND ${keepsAdministrator}`;
  const record = newEntry("person.updated", now, origin, {});
  const before = jsonOfPerson(sql`people`);
  const after = values.map(({ key, value }) => sql`${`$.${key}`}, ${value}`);
  const [taken, , update, ...rest] = await batchAsCaller<PersonRow & { taken: number }>(db, by, [
    prepare(db, sql`SELECT ${isTaken} AS taken`),
    insertRecordOf(db, record, {
      from: sql`FROM people WHERE ${isChanging}`,
      fields: { before, after: sql`json_set(${before}, ${join(after, sql`, `)})` },
    }),
    prepare(db, sql`UPDATE people SET ${set}, change_id = ${changeId} WHERE ${isChanging}`),
    ...(change.status === "suspended"
      ? [
          prepare(db, sql`DELETE FROM person_sessions WHERE person_id = ${id} AND ${isChanged}`),
          denyApprovedCodes(db, id, isChanged),
        ]
      : []),
    insertNotice(db, { kind: "person.updated", personId: id, actor: actorJson(by), now }, isChanged),
    selectPerson(db, id),
  ]);
  const row = rest.at(-1)!.results[0];
  return {
    changed: update!.meta.changes > 0,
    person: row && toPerson(row),
    emailTaken: taken!.results[0]?.taken === 1,
  };
}

const COLUMNS = { name: sql`name`, email: sql`email`, role: sql`role`, status: sql`status` } as const;

/** Deletes a person, unless nobody would be left who administers the deployment. Their agents belong to nobody then. */
export async function deletePerson(
  db: D1Database,
  id: string,
  { by, now, origin }: PersonalChange,
): Promise<"deleted" | "last_administrator" | "unknown"> {
  const isDeletable = sql`EXISTS (SELECT 1 FROM people WHERE id = ${id} AND ${IS_NOT_THE_LAST})`;
  const record = newEntry("person.deleted", now, origin, {});
  const [found, , , deletion] = await batchAsCaller(db, by, [
    prepare(db, sql`SELECT 1 FROM people WHERE id = ${id}`),
    insertNotice(db, { kind: "person.deleted", personId: id, actor: actorJson(by), now }, isDeletable),
    insertRecordOf(db, record, {
      from: sql`FROM people WHERE id = ${id} AND ${IS_NOT_THE_LAST}`,
      fields: { before: jsonOfPerson(sql`people`) },
    }),
    prepare(db, sql`DELETE FROM people WHERE id = ${id} AND ${IS_NOT_THE_LAST} RETURNING id`),
  ]);
  if (found!.results.length === 0) return "unknown";
  return deletion!.results.length > 0 ? "deleted" : "last_administrator";
}
