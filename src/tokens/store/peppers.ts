import { prepare, sql } from "../../database/sql.ts";

/** How many rows of each table are looked at. No index has the pepper, because each refresh would pay for it. */
const MAX_COUNTED = 50_000;

/** How many API keys, and sessions that can be refreshed, bear one key of SECRET_PEPPER. */
export interface PepperUse {
  /** Null: a former version wrote it. */
  readonly id: string | null;
  readonly keys: number;
  readonly sessions: number;
}

/**
 * Counts what bears each pepper.
 *
 * @returns `isWhole`: whether every key and session was counted, and not the first 50,000 of either alone.
 */
export async function countPepperUses(
  db: D1Database,
  now: number,
): Promise<{ uses: readonly PepperUse[]; isWhole: boolean }> {
  const { results } = await prepare(
    db,
    sql`SELECT id, sum(keys) AS keys, sum(sessions) AS sessions FROM (
        SELECT * FROM (SELECT pepper_id AS id, 1 AS keys, 0 AS sessions FROM api_keys WHERE type = 'secret'
          LIMIT ${MAX_COUNTED})
        UNION ALL SELECT * FROM (SELECT pepper_id, 0, 1 FROM sessions WHERE ended_at IS NULL AND expires_at > ${now}
          LIMIT ${MAX_COUNTED}))
      GROUP BY id`,
  ).all<PepperUse>();
  const sum = (what: "keys" | "sessions"): number => results.reduce((total, one) => total + one[what], 0);
  return { uses: results, isWhole: sum("keys") < MAX_COUNTED && sum("sessions") < MAX_COUNTED };
}
