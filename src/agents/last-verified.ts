import { updateLastVerified } from "./store/agents.ts";
import { updateLastUsed } from "./store/keys.ts";

/** An agent has verified itself with its API key. `at` is milliseconds. */
interface Verification {
  readonly agentId: string;
  readonly at: number;
  readonly keyId: string | null;
}

/** The statements that store when agents last verified themselves, and when their keys were last used. */
export function lastVerifiedStatements(db: D1Database, verifications: readonly Verification[]): D1PreparedStatement[] {
  return verifications.length === 0 ? [] : [updateLastVerified(db, verifications), updateLastUsed(db, verifications)];
}
