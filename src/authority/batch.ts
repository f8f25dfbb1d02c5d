import { AuthorityLostError, type Authority } from "./authority.ts";
import { GUARD_ERROR, guardStatement, readAuthority } from "./store.ts";

/**
 * Runs statements as one transaction that changes nothing unless the caller still has the authority that its request was
 * accepted by. One D1 round trip.
 *
 * @param authority undefined for a caller that is not an agent: a stranger, or the holder of the bootstrap token.
 * @returns the statements' results, in their order.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
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
    if (cause instanceof Error && cause.message.includes(GUARD_ERROR)) await throwIfLost(db, authority);
    throw cause;
  }
}

/** Returns if the caller has lost nothing: then another statement of the batch has failed. */
async function throwIfLost(db: D1Database, authority: Authority): Promise<void> {
  const { isActive, holdsKey, hasSameGrants, holdsAll, permissions } = await readAuthority(db, authority);
  if (!isActive) throw new AuthorityLostError({ reason: "token_revoked" });
  if (!holdsKey) throw new AuthorityLostError({ reason: "key_refused" });
  if (!hasSameGrants) throw new AuthorityLostError({ reason: "grants_changed" });
  if (holdsAll) return;
  const required = authority.required.find((permission) => !permissions.includes(permission));
  throw new AuthorityLostError({ reason: "insufficient_permissions", required, granted: permissions });
}
