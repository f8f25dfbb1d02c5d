import { newEntry, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import { databaseFailure } from "../storage/failure.ts";
import { logFailure } from "../log/failure-log.ts";
import { insertIntent, isIntentRecorded } from "./intent.ts";
import { sendRecords } from "./message.ts";

/** After this time, in milliseconds, an export whose end was not heard of is shown as one with an unknown outcome. */
const MAX_EXPORT_MS = 3_600_000;

/** How an export ended. */
interface ExportEnd {
  /** False if it broke off. */
  readonly isWhole: boolean;
  readonly records: number;
  readonly bytes: number;
  readonly durationMs: number;
  /** Why it broke off, or that it goes on with another request. */
  readonly message: string;
}

/** An export that is under way. */
export interface Export {
  /** Records how it ended. Never rejects. */
  readonly end: (end: ExportEnd) => Promise<void>;
}

/**
 * Records that somebody exports the log, before the first record leaves: if the Worker ends meanwhile, the log says that it was begun.
 *
 * @param after what was asked for.
 * @returns null if the outbox of the log is full: what cannot be recorded is not exported.
 * @throws {Error} if the database does not answer.
 */
export async function beginExport(
  env: Pick<Env, "DB" | "ACTIVITY">,
  origin: RecordOrigin,
  now: number,
  after: AuditEntry["after"],
): Promise<Export | null> {
  const of = { method: "GET", path: "/audit/export", status: 200, after };
  const intent = newEntry("audit.exported", now, origin, { ...of, part: "intent", message: "The export was begun." });
  if (!isIntentRecorded(await insertIntent(env.DB, intent, now + MAX_EXPORT_MS).run())) return null;
  return {
    async end({ isWhole, records, bytes, durationMs, message }) {
      const entry = newEntry("audit.exported", now, origin, {
        ...of,
        id: intent.id,
        part: "end",
        intentRandom: intent.random,
        outcome: isWhole ? "success" : "failed",
        count: records,
        bytesOut: bytes,
        durationMs,
        message,
      });
      await sendRecords(env, [{ entry }]);
    },
  };
}

/** What the record of an export that broke off says of the reason. It is logged as well. */
export function describeBreak(cause: unknown): string {
  logFailure("export_broke_off", cause);
  return databaseFailure(cause) ? "A database did not answer." : "The receiver went away, or something failed.";
}
