import { newEntry, SYSTEM_ORIGIN } from "../outbox/record.ts";
import { readOutboxSize, recordUnrecorded, writeOutboxSize } from "./store/state.ts";

/** How large the outbox of the audit log may become, in bytes, while the log's database takes nothing. */
const MAX_OUTBOX_BYTES = 500_000_000;

/** An outbox with fewer entries is small, whatever its size: its database is then measured to compare with. */
const SMALL_OUTBOX = 2000;

/** By how many bytes the database has to have changed before that is stored. */
const BASE_STEP_BYTES = 1_000_000;

/**
 * Measures the outbox of the audit log by how much its database has grown since the outbox was small: to add up its entries would keep
 * the database from logins for seconds. From `maxBytes` on, what is read is only counted, and writes follow `AUDIT_ON_FAILURE`.
 *
 * @param now milliseconds.
 * @returns 0: there is never more to do.
 */
export async function measureOutbox(db: D1Database, now: number, maxBytes = MAX_OUTBOX_BYTES): Promise<0> {
  const size = await readOutboxSize(db, SMALL_OUTBOX);
  const isSmall = size.counted < SMALL_OUTBOX;
  const baseBytes = isSmall || size.baseBytes === null ? size.databaseBytes : size.baseBytes;
  const isFull = !isSmall && size.databaseBytes - baseBytes > maxBytes;
  const isMoved = size.baseBytes === null || Math.abs(baseBytes - size.baseBytes) >= BASE_STEP_BYTES;
  if (isMoved || isFull !== size.isFull) await writeOutboxSize(db, { baseBytes, isFull });
  if (!isFull && size.notRecorded > 0) {
    const entry = newEntry("gateway.call", now, SYSTEM_ORIGIN, {
      outcome: "unknown",
      count: size.notRecorded,
      message: "calls that were not recorded one by one, because the outbox of the audit log was full",
    });
    await recordUnrecorded(db, entry);
  }
  return 0;
}
