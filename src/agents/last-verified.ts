import { updateLastVerified } from "./store/agents.ts";
import { updateLastUsed } from "./store/keys.ts";

/** An activity of an agent, which may be a use of its API key. `at` is milliseconds. */
interface Verification {
  readonly agentId: string;
  readonly at: number;
  readonly verified?: boolean;
  readonly keyId?: string;
}

/** The statements that store when agents last verified themselves, and when their keys were last used, for the batch that inserts these activities. */
export function lastVerifiedStatements(db: D1Database, activities: readonly Verification[]): D1PreparedStatement[] {
  const verifications = activities.filter(({ verified }) => verified);
  if (verifications.length === 0) return [];
  return [updateLastVerified(db, verifications), updateLastUsed(db, verifications)];
}
