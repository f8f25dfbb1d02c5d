import type { AuditEntry } from "../outbox/record.ts";
import { sendRecords, type RecordMessage } from "./message.ts";

/** The parts of a request that recording behind its answer needs. */
interface AnsweredCall {
  readonly env: Parameters<typeof sendRecords>[0];
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/**
 * Records what has no change of the database that the record could be written with. The response does not wait for it.
 *
 * @param more the event that is inserted with the record, and whether it is a stranger who has named the agent.
 */
export function recordInBackground(
  { env, waitUntil }: AnsweredCall,
  entry: AuditEntry,
  more: Pick<RecordMessage, "event" | "isUnproven"> = {},
): void {
  waitUntil(sendRecords(env, [{ entry, ...more }]));
}
