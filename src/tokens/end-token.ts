import type { AgentAuthority } from "../authority/authority.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { AccessClaims } from "./access-token.ts";
import type { RefreshToken } from "./refresh-token.ts";
import { deleteEndedTokens, insertEndedToken, readSessionOf, type IntrospectedSession } from "./store/ended-tokens.ts";
import { deleteUsedProofs } from "./store/proofs.ts";

/**
 * Ends an access token that has no session, and nothing else. One D1 round trip.
 *
 * @returns false if it had ended before: nothing is recorded then.
 * @throws {AuthorityLostError}
 */
export const endToken = (
  db: D1Database,
  { jti, exp, sub }: Pick<AccessClaims, "jti" | "exp" | "sub">,
  { by, origin, now }: { by: AgentAuthority; origin: RecordOrigin; now: number },
): Promise<boolean> => {
  const message = `token ${jti} revoked by ${by.agentId}`;
  const record = newEntry("token.revoked", now, origin, { agentId: sub, message });
  return insertEndedToken(db, jti, exp * 1000, { by, record });
};

/** The session of a refresh token, whatever its generation, and whether this token can be used. Undefined for none. */
export const sessionOf = (db: D1Database, token: RefreshToken): Promise<IntrospectedSession | undefined> =>
  readSessionOf(db, token);

/** How long rows are kept after they have ended, because clocks differ, in milliseconds. */
const MARGIN_MS = 60_000;

/**
 * Deletes up to `limit` proofs that may no longer be used, and up to `limit` ended tokens that have expired.
 *
 * @param now milliseconds.
 * @returns the larger of the two numbers.
 */
export async function sweepProofs(db: D1Database, now: number, limit: number): Promise<number> {
  const deleted = await Promise.all([
    deleteUsedProofs(db, now - MARGIN_MS, limit),
    deleteEndedTokens(db, now - MARGIN_MS, limit),
  ]);
  return Math.max(...deleted);
}
