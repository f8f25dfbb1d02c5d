import { deletedRows, prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { timeOrderedId } from "../../crypto/random.ts";
import type { Notice, NoticeKind } from "../person.ts";
import { toNotice, type NoticeRow } from "../person-row.ts";

/** What happened, and to whom. */
export interface NewNotice {
  readonly kind: NoticeKind;
  readonly personId: string;
  /** SQL for the JSON of who did it. */
  readonly actor: Sql;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * The statement that tells a person, and every administrator, what has happened to that person. It comes after the statement that makes
 * the change, or before it if the person is deleted.
 *
 * @param condition SQL that is true if the change has happened.
 */
export function insertNotice(
  db: D1Database,
  { kind, personId, actor, now }: NewNotice,
  condition: Sql,
): D1PreparedStatement {
  return prepare(
    db,
    sql`INSERT INTO person_notices (id, to_person_id, at, kind, about, actor)
      SELECT ${timeOrderedId("not_", now)}, p.id, ${DATABASE_NOW}, ${kind},
        json_object('type', 'person', 'id', about.id, 'name', about.name), ${actor}
      FROM people about JOIN people p ON p.id = about.id OR (p.role = 'admin' AND p.status = 'active')
      WHERE about.id = ${personId} AND ${condition}`,
  );
}

/** The last notices to a person, the newest first. */
export async function readNotices(db: D1Database, personId: string, limit: number): Promise<Notice[]> {
  const { results } = await prepare(
    db,
    sql`SELECT id, at, kind, about, actor FROM person_notices WHERE to_person_id = ${personId} ORDER BY id DESC LIMIT ${limit}`,
  ).all<NoticeRow>();
  return results.map(toNotice);
}

/** Deletes up to `limit` notices that are older than a time. Returns how many. @param until milliseconds. */
export const deleteNotices = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM person_notices WHERE (to_person_id, id) IN (
      SELECT to_person_id, id FROM person_notices WHERE at < ${until} ORDER BY at LIMIT ${limit})`,
  );
