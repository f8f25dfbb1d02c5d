import type { ActivityMessage } from "../audit/record.ts";
import { updateLastVerified } from "./store.ts";

/** The statements that keep when agents last proved themselves, for the batch that brings these activities in. */
export function lastVerifiedStatements(db: D1Database, activities: readonly ActivityMessage[]): D1PreparedStatement[] {
  const verifications = activities.filter(({ verified }) => verified);
  return verifications.length > 0 ? [updateLastVerified(db, verifications)] : [];
}
