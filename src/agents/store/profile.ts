import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { join, prepare, sql, type Sql, type SqlValue } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import { toJson } from "../agent-row.ts";
import type { DetailedAgent, Profile } from "../details.ts";
import { selectDetailedAgent, toDetailedAgent, type DetailedRow } from "./details.ts";

/** For each property: its column, and the value that is stored there. */
const COLUMNS: { readonly [Key in keyof Profile]-?: { column: Sql; toValue: (value: Profile[Key]) => SqlValue } } = {
  name: { column: sql`name`, toValue: (value) => value! },
  description: { column: sql`description`, toValue: (value) => value ?? null },
  metadata: { column: sql`metadata`, toValue: toJson },
  ownerEmail: { column: sql`owner_email`, toValue: (value) => value! },
  rateLimit: { column: sql`rate_limit`, toValue: (value) => value ?? null },
  allowedIps: { column: sql`allowed_ips`, toValue: toJson },
  grantable: { column: sql`grantable`, toValue: toJson },
};

/**
 * Sets the properties that are given, and inserts the event, if one of them differs from what the agent has and the agent is not
 * revoked. Of two callers that set the same value at once, the second changes nothing.
 *
 * @param profile has one property at least.
 */
export async function updateProfile(
  db: D1Database,
  id: string,
  profile: Profile,
  { by, event }: { by: Authority; event: Event },
): Promise<{ changed: boolean; found: DetailedAgent | undefined }> {
  const changeId = newChangeId();
  const values = Object.entries(profile).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const { column, toValue } = COLUMNS[key as keyof Profile];
    return [{ column, value: (toValue as (value: unknown) => SqlValue)(value) }];
  });
  const set = join(
    values.map(({ column, value }) => sql`${column} = ${value}`),
    sql`, `,
  );
  const differs = join(
    values.map(({ column, value }) => sql`${column} IS NOT ${value}`),
    sql` OR `,
  );
  const results = await batchAsCaller<DetailedRow>(db, by, [
    prepare(
      db,
      sql`UPDATE agents SET ${set}, updated_at = ${DATABASE_NOW}, change_id = ${changeId}
        WHERE id = ${id} AND status <> 'revoked' AND (${differs})`,
    ),
    insertEvent(db, event, { table: "agents", id, changeId }),
    selectDetailedAgent(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  return { changed: results[0]!.meta.changes > 0, found: row && toDetailedAgent(row) };
}
