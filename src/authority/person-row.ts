import { integer, sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import { DAY_MS, HOUR_MS } from "../time/lengths.ts";

/** A person's session ends when it has not been used for so long, in milliseconds. */
export const SESSION_IDLE_MS = 12 * HOUR_MS;
/** A person's session ends after so long, however much it is used, in milliseconds. */
export const SESSION_LIFE_MS = 7 * DAY_MS;

/** SQL that is true if a session `s` of a person `p` has not ended, and the person may be signed in. */
export const PERSON_SESSION_STANDS: Sql = sql`(p.status = 'active' AND s.expires_at > ${DATABASE_NOW}
  AND s.last_used_at > ${DATABASE_NOW} - ${integer(SESSION_IDLE_MS)})`;

/** SQL that is true if a person `p` administers the deployment, and has a way to sign in that is not a link. */
export const IS_ADMINISTRATOR: Sql = sql`(p.role = 'admin' AND p.status = 'active' AND p.joined_at IS NOT NULL)`;

/** SQL that is true if any person administers the deployment. */
export const HAS_ADMINISTRATOR: Sql = sql`EXISTS (SELECT 1 FROM people p WHERE ${IS_ADMINISTRATOR})`;
