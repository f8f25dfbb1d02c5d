import { prepare, sql, type Sql } from "../../database/sql.ts";

/** An API key that somebody presents, as it may be stored. */
export interface HashedKey {
  /** Its hash under each key of `SECRET_PEPPER`, in their order. */
  readonly keyHashes: readonly string[];
  /** The first key of `SECRET_PEPPER`. */
  readonly pepperId: string;
  readonly keyHint: string;
}

/** SQL for the list of the hashes that the key may be stored as. */
export const hashesOf = ({ keyHashes }: Pick<HashedKey, "keyHashes">): Sql =>
  sql`(SELECT value FROM json_each(${JSON.stringify(keyHashes)}))`;

/** The statement that hashes a key anew under the first key of `SECRET_PEPPER`, if its hash is of a former one, or of a former version. */
export const rehashKey = (db: D1Database, agentId: string, key: HashedKey): D1PreparedStatement =>
  prepare(
    db,
    sql`UPDATE api_keys SET hash = ${key.keyHashes[0]!}, pepper_id = ${key.pepperId}, hint = ${key.keyHint}
      WHERE agent_id = ${agentId} AND hash IN ${hashesOf(key)} AND pepper_id IS NOT ${key.pepperId}`,
  );
