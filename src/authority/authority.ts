import { forbidden, unauthorized } from "../http/errors.ts";
import { GUARD_ERROR, guardStatement, readAuthority } from "./store.ts";

/**
 * What a caller was let in by, as far as it can be taken away. What the caller writes is written only while all of it holds:
 * {@link batchAsCaller} makes it a condition of the same transaction.
 */
export interface Authority {
  readonly agentId: string;
  readonly sessionId: string;
  /** `iat` of the access token, in seconds. */
  readonly issuedAt: number;
  /** The agent's own permissions, as they stand in its row, that the request needs. */
  readonly required: readonly string[];
}

export function tokenRevoked() {
  return unauthorized("token_revoked", "The access token has been revoked, or its agent is not active.");
}

/**
 * Runs statements as one transaction that changes nothing unless the caller may still do what it was let in for. One D1
 * round trip.
 *
 * @param authority undefined for a caller that is no agent: a stranger, or the holder of the bootstrap token.
 * @returns the statements' results, in their order.
 * @throws {ApiError} 401 `token_revoked` or 403 `insufficient_permissions` if the caller lost its authority meanwhile.
 */
export async function batchAsCaller<Row = unknown>(
  db: D1Database,
  authority: Authority | undefined,
  statements: readonly D1PreparedStatement[],
): Promise<D1Result<Row>[]> {
  if (!authority) return db.batch<Row>([...statements]);
  try {
    const [, ...results] = await db.batch<Row>([guardStatement(db, authority), ...statements]);
    return results;
  } catch (cause) {
    if (cause instanceof Error && cause.message.includes(GUARD_ERROR)) await explainLoss(db, authority);
    throw cause;
  }
}

/** Throws the refusal that fits, or returns if the caller has lost nothing: then another statement has failed. */
async function explainLoss(db: D1Database, authority: Authority): Promise<void> {
  const { stands, holds, permissions } = await readAuthority(db, authority);
  if (!stands) throw tokenRevoked();
  if (holds) return;
  throw forbidden(
    "insufficient_permissions",
    "A permission that this request needs was taken away while the request was handled.",
    { required: authority.required.find((one) => !permissions.includes(one)), granted: permissions },
  );
}
