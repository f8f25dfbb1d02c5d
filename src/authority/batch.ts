import { AuthorityLostError, type Authority } from "./authority.ts";
import { GUARD_ERROR, guardStatement, readAuthority } from "./store.ts";

/**
 * Runs statements as one transaction that changes nothing unless the caller still has the authority that its request was
 * accepted by. One D1 round trip.
 *
 * @param authority undefined for a stranger.
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
  const { reason, permissions } = await readAuthority(db, authority);
  if (reason === null) return;
  if (reason !== "insufficient_permissions") throw new AuthorityLostError({ reason });
  const needed = authority.agentId === undefined ? [] : authority.required;
  const required = needed.find((permission) => !permissions.includes(permission));
  throw new AuthorityLostError({ reason, required, granted: permissions });
}
