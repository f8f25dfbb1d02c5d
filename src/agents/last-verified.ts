import { updateLastVerified } from "./store/agents.ts";

/** An activity of an agent, which may be a use of its API key. `at` is milliseconds. */
interface Verification {
  readonly agentId: string;
  readonly at: number;
  readonly verified?: boolean;
}

/** The statements that store when agents last verified themselves, for the batch that inserts these activities. */
export function lastVerifiedStatements(db: D1Database, activities: readonly Verification[]): D1PreparedStatement[] {
  const verifications = activities.filter(({ verified }) => verified);
  return verifications.length > 0 ? [updateLastVerified(db, verifications)] : [];
}
