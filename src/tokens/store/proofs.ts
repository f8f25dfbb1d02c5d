import { deletedRows, prepare, sql, type Sql } from "../../database/sql.ts";
import type { Proof } from "../records.ts";

/**
 * The statement that uses a proof up, for a batch that does what the proof is sent for. It fails, and so rolls the batch back, if the proof
 * was used before: see {@link isProofUsed}.
 *
 * @param from SQL with a row if the proof is to be used up: nobody whom the batch refuses writes anything.
 */
export const useProofIf = (db: D1Database, { jkt, jtiHash, usedUntil }: Proof, from: Sql): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT INTO used_proofs (signer, jti_hash, expires_at) SELECT ${jkt}, ${jtiHash}, ${usedUntil} ${from}`,
  );

/** Whether D1 says that the proof of a batch was used before. */
export const isProofUsed = (cause: unknown): boolean =>
  cause instanceof Error && cause.message.includes("UNIQUE constraint failed: used_proofs.");

/** Remembers that a proof was used. Returns whether it was for the first time: of two requests at once, for one. */
export async function insertProof(db: D1Database, { jkt, jtiHash, usedUntil }: Proof): Promise<boolean> {
  const { results } = await prepare(
    db,
    sql`INSERT OR IGNORE INTO used_proofs (signer, jti_hash, expires_at) VALUES (${jkt}, ${jtiHash}, ${usedUntil}) RETURNING 1`,
  ).all();
  return results.length > 0;
}

/** Deletes up to `limit` proofs that would no longer be accepted at `until`, in milliseconds. Returns how many. */
export const deleteUsedProofs = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM used_proofs WHERE (signer, jti_hash) IN (
      SELECT signer, jti_hash FROM used_proofs WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );
