import type { Proof } from "./records.ts";
import { insertProof } from "./store/proofs.ts";

/**
 * Uses a DPoP proof up. One D1 round trip: every request with a proof pays for it, because only what all isolates share can tell that a
 * proof is used a second time.
 *
 * @returns false if it was used before.
 */
export const useProof = (db: D1Database, proof: Proof): Promise<boolean> => insertProof(db, proof);
