import { integer, sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import { DAY_MS, HOUR_MS } from "../time/lengths.ts";

/** A person's session ends when it has not been used for so long, in milliseconds. */
export const SESSION_IDLE_MS = 12 * HOUR_MS;
/** A person's session ends after so long, however much it is used, in milliseconds. */
export const SESSION_LIFE_MS = 7 * DAY_MS;

/**
 * SQL that is true if who has made a sign-in link `l` may still make one: an administrator who is suspended, demoted or deleted comes back by
 * none that they have made for somebody else.
 */
export const MAKER_STANDS: Sql = sql`(l.created_by ->> 'type' <> 'person' OR EXISTS (SELECT 1 FROM people m
  WHERE m.id = l.created_by ->> 'id' AND m.role = 'admin' AND m.status = 'active'))`;

/** SQL that is true if a session `s` of a person `p` has not ended, and the person may be signed in. */
export const PERSON_SESSION_STANDS: Sql = sql`(p.status = 'active' AND s.expires_at > ${DATABASE_NOW}
  AND s.last_used_at > ${DATABASE_NOW} - ${integer(SESSION_IDLE_MS)}
  AND (s.method <> 'link' OR EXISTS (SELECT 1 FROM sign_in_links l
    WHERE l.person_id = p.id AND l.session_id = s.id AND ${MAKER_STANDS})))`;

/** SQL that is true if a person `p` administers the deployment, and has a way to sign in that is not a link. */
export const IS_ADMINISTRATOR: Sql = sql`(p.role = 'admin' AND p.status = 'active' AND p.joined_at IS NOT NULL)`;

/** SQL that is true if any person administers the deployment. */
export const HAS_ADMINISTRATOR: Sql = sql`EXISTS (SELECT 1 FROM people p WHERE ${IS_ADMINISTRATOR})`;
