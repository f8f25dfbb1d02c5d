import { sql, type Sql } from "../../database/sql.ts";

/** SQL for a text that sorts before the ids of this second and after all earlier ones. @param second SQL for seconds since the epoch. */
export const firstIdOf = (second: Sql): Sql => sql`printf('aud_%012x', ${second} * 1000)`;

/** SQL that is true of a row `r` whose id was made in this minute. @param minute SQL for minutes since the epoch. */
export const isOfMinute = (minute: Sql): Sql =>
  sql`r.id >= ${firstIdOf(sql`${minute} * 60`)} AND r.id < ${firstIdOf(sql`(${minute} * 60 + 60)`)}`;
