import { deletedRows, prepare, sql } from "../../database/sql.ts";

/** Remembers that a proof was used. Returns whether it was for the first time: of two requests at once, for one. */
export async function insertProof(
  db: D1Database,
  { signer, jtiHash, usedUntil }: { signer: string; jtiHash: string; usedUntil: number },
): Promise<boolean> {
  const { results } = await prepare(
    db,
    sql`INSERT OR IGNORE INTO used_proofs (signer, jti_hash, expires_at) VALUES (${signer}, ${jtiHash}, ${usedUntil}) RETURNING 1`,
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
