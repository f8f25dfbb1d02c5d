import { logFailure } from "../../log/failure-log.ts";
import { readRetryAfter } from "../../validation/retry-after.ts";
import { readRows } from "../archive/store/objects.ts";
import { toExportRequest, toLogRecord } from "./log-record.ts";
import { claimBatches, markSent, postpone, type ClaimedBatch } from "./store.ts";

/** Where records are sent as logs of OpenTelemetry. */
export interface OtlpTarget {
  /** The whole URL, which ends in `/v1/logs`. */
  readonly url: string;
  /** With what authenticates us there. */
  readonly headers: Readonly<Record<string, string>>;
}

/** How long the receiver may take, in milliseconds. */
const TIMEOUT_MS = 10_000;

/** How long a claim holds, in milliseconds: longer than an attempt takes. */
const CLAIM_MS = 60_000;

/** How many batches one request has. Each has at most about 100 records. */
const MAX_BATCHES_PER_REQUEST = 5;

const FIRST_DELAY_MS = 60_000;
const MAX_DELAY_MS = 3_600_000;
/** The longest that a receiver may ask us to wait. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/** How much of a response is read, in bytes. */
const MAX_RESPONSE_BYTES = 64 * 1024;

/** Statuses that say of the data, not of the deployment, that it is not accepted: the specification says not to repeat it. */
const REFUSES_DATA: ReadonlySet<number> = new Set([400, 413, 415, 422]);

/**
 * Sends records that are due to the OTLP endpoint, in one request. What fails is sent again, after a minute at first and after an hour at
 * the longest, or when the receiver says. The log and the archive do not wait for it.
 *
 * https://opentelemetry.io/docs/specs/otlp/#otlphttp
 *
 * @param now milliseconds.
 * @returns `limit` if there may be more, else 0.
 */
export async function sendRecords(
  db: D1Database,
  target: OtlpTarget | null,
  now: number,
  limit: number,
  timeoutMs = TIMEOUT_MS,
): Promise<number> {
  if (!target) return 0;
  const batches = await claimBatches(db, { now, until: now + CLAIM_MS, limit: MAX_BATCHES_PER_REQUEST });
  if (batches.length === 0) return 0;
  const rows = await readRows(db, batches);
  const request = JSON.stringify(toExportRequest(rows.map((row) => toLogRecord(row, now))));
  const result: Result =
    rows.length > 0
      ? await post(target, request, { now, timeoutMs })
      : {
          kind: "refused",
          reason: "the records have left the database before they could be sent: the archive has them",
        };
  switch (result.kind) {
    case "accepted":
      await markSent(db, batches, now);
      return limit;
    case "refused":
      logFailure("otlp_records_refused", result.reason, {
        batches: idsOf(batches),
        records: result.records ?? rows.length,
      });
      await markSent(db, batches, now);
      return limit;
    case "failed":
      logFailure("otlp_not_sent", result.reason, { batches: idsOf(batches), records: rows.length });
      await postpone(db, batches, now + (result.retryAfterMs ?? delayAfter(batches)));
      return 0;
  }
}

const idsOf = (batches: readonly ClaimedBatch[]) => batches.map(({ id }) => id);

const delayAfter = (batches: readonly ClaimedBatch[]): number =>
  Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (Math.max(...batches.map(({ attempts }) => attempts)) - 1));

type Result =
  | { readonly kind: "accepted" }
  /** For good. `records`: how many of them, if not all. */
  | { readonly kind: "refused"; readonly reason: string; readonly records?: number }
  | { readonly kind: "failed"; readonly reason: string; readonly retryAfterMs?: number | undefined };

async function post(
  { url, headers }: OtlpTarget,
  body: string,
  { now, timeoutMs }: { now: number; timeoutMs: number },
): Promise<Result> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json", "user-agent": "AgentAuth-OTLP/1" },
      body,
      // The records, and the headers that authenticate us, are for this host only.
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const { status } = response;
    const text = await readText(response);
    if (status === 200) return partialSuccess(text);
    const reason = `the receiver answered ${status}`;
    if (REFUSES_DATA.has(status)) return { kind: "refused", reason };
    return { kind: "failed", reason, retryAfterMs: retryAfter(response.headers.get("retry-after"), now) };
  } catch (cause) {
    const isLate = cause instanceof Error && cause.name === "TimeoutError";
    return {
      kind: "failed",
      reason: isLate ? `no answer within ${timeoutMs / 1000} seconds` : "the connection failed",
    };
  }
}

/** https://opentelemetry.io/docs/specs/otlp/#partial-success-1: what was rejected is not to be sent again. */
function partialSuccess(text: string): Result {
  try {
    const answer = JSON.parse(text) as {
      partialSuccess?: { rejectedLogRecords?: unknown; errorMessage?: unknown };
    } | null;
    const { rejectedLogRecords = 0, errorMessage } = answer?.partialSuccess ?? {};
    const records = Number(rejectedLogRecords);
    if (records > 0) return { kind: "refused", reason: String(errorMessage).slice(0, 500), records };
  } catch {
    // A receiver that answers 200 with anything else has accepted everything.
  }
  return { kind: "accepted" };
}

/** How long the receiver asks us to wait, within what is reasonable, in milliseconds; undefined if it does not say. */
function retryAfter(header: string | null, now: number): number | undefined {
  const ms = readRetryAfter(header, now);
  return ms === undefined ? undefined : Math.min(Math.max(ms, FIRST_DELAY_MS), MAX_RETRY_AFTER_MS);
}

async function readText(response: Response): Promise<string> {
  if (!response.body) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > MAX_RESPONSE_BYTES) break;
  }
  return text;
}
