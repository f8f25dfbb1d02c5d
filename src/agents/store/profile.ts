import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { assignments, join, prepare, sql, type Sql, type SqlValue } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import { toJson } from "../agent-row.ts";
import type { DetailedAgent, Profile } from "../details.ts";
import { selectDetailedAgent, toDetailedAgent, type DetailedRow } from "./details.ts";

interface Column<Value> {
  readonly column: Sql;
  /** What the column is called in a record. */
  readonly name: string;
  /** Whether it holds JSON. */
  readonly isJson?: true;
  /** Whether it holds 0 or 1, which a record has as true or false. */
  readonly isFlag?: true;
  readonly toValue: (value: Value) => SqlValue;
}

/** For each property: its column, and the value that is stored there. */
const COLUMNS: { readonly [Key in keyof Profile]-?: Column<Profile[Key]> } = {
  name: { column: sql`name`, name: "name", toValue: (value) => value! },
  description: { column: sql`description`, name: "description", toValue: (value) => value ?? null },
  metadata: { column: sql`metadata`, name: "metadata", isJson: true, toValue: toJson },
  ownerEmail: { column: sql`owner_email`, name: "owner_email", toValue: (value) => value! },
  rateLimit: { column: sql`rate_limit`, name: "rate_limit", toValue: (value) => value ?? null },
  allowedIps: { column: sql`allowed_ips`, name: "allowed_ips", isJson: true, toValue: toJson },
  requiresDpop: {
    column: sql`dpop_required`,
    name: "dpop_bound_access_tokens",
    isFlag: true,
    toValue: (value) => (value ? 1 : 0),
  },
  grantable: { column: sql`grantable`, name: "grantable", isJson: true, toValue: toJson },
  ownerPersonId: { column: sql`owner_person_id`, name: "owner_person_id", toValue: (value) => value ?? null },
};

/**
 * Sets the properties that are given, and inserts the event, if one of them differs from what the agent has and the agent is not
 * revoked. Of two callers that set the same value at once, the second changes nothing.
 *
 * @param profile has one property at least.
 * @param readAt the `updated_at` that the row must have; undefined for any.
 */
export async function updateProfile(
  db: D1Database,
  id: string,
  profile: Profile,
  { by, readAt, event, record }: { by: Authority; readAt: number | undefined; event: Event; record: AuditEntry },
): Promise<{ changed: boolean; found: DetailedAgent | undefined }> {
  const changeId = newChangeId();
  const values = Object.entries(profile).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const { toValue, ...column } = COLUMNS[key as keyof Profile];
    return [{ ...column, value: (toValue as (value: unknown) => SqlValue)(value) }];
  });
  const { set, differs } = assignments(values);
  const when = sql`WHERE id = ${id} AND status <> 'revoked' AND (${differs})
    AND ${profile.ownerPersonId == null ? sql`1` : sql`EXISTS (SELECT 1 FROM people WHERE people.id = ${profile.ownerPersonId})`}
    AND ${readAt === undefined ? sql`1` : sql`updated_at = ${readAt}`}`;
  const toJsonSql = ({ isJson, isFlag }: Partial<Column<unknown>>, value: Sql): Sql =>
    isFlag ? sql`json(iif(${value}, 'true', 'false'))` : isJson ? sql`json(${value})` : value;
  const object = (toSql: (one: (typeof values)[number]) => Sql): Sql =>
    sql`json_object(${join(
      values.map((one) => sql`${one.name}, ${toJsonSql(one, toSql(one))}`),
      sql`, `,
    )})`;
  const fields = { before: object(({ column }) => column), after: object(({ value }) => sql`${value}`) };
  const [, update, ...results] = await batchAsCaller<DetailedRow>(db, by, [
    insertRecordOf(db, record, { from: sql`FROM agents ${when}`, fields }),
    prepare(db, sql`UPDATE agents SET ${set}, updated_at = ${DATABASE_NOW}, change_id = ${changeId} ${when}`),
    insertEvent(db, event, { table: "agents", id, changeId }),
    selectDetailedAgent(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  return { changed: update!.meta.changes > 0, found: row && toDetailedAgent(row) };
}
