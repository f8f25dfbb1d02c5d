import type { AuditEntry } from "../outbox/record.ts";
import { sendRecords, putIntoOutbox, wakeOutbox, type RecordMessage } from "./message.ts";

/** The parts of a request that recording needs. */
interface RecordedCall {
  readonly env: Parameters<typeof sendRecords>[0];
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/**
 * Records what has no change of the database that the record could be written with. The response does not wait for it.
 *
 * @param more the event that is inserted with the record.
 */
export function recordInBackground(
  { env, waitUntil }: RecordedCall,
  entry: AuditEntry,
  more: Pick<RecordMessage, "event"> = {},
): void {
  waitUntil(sendRecords(env, [{ entry, ...more }]));
}

/**
 * The same for what its agent finds in its own view as soon as it has the response. One D1 round trip. If the database does not take it, it is
 * recorded in the background.
 */
export async function recordAtOnce({ env, waitUntil }: RecordedCall, entry: AuditEntry): Promise<void> {
  await putIntoOutbox(env, entry);
  waitUntil(wakeOutbox(env));
}
