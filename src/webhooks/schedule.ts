const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** How long to wait before each attempt, in milliseconds: the schedule that Standard Webhooks recommends. */
export const SCHEDULE: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

/** What a queue's message can wait at the most, in seconds: longer waits are taken in hops. */
const MAX_HOP_SECONDS = 12 * 3600;
/** The most that a receiver's `Retry-After` puts an attempt off. */
const MAX_RETRY_AFTER = 24 * HOUR;
/** A tenth, either way: receivers that failed together are not called together again. */
const JITTER = 0.1;

/** What came of one attempt. */
export interface AttemptResult {
  /** Undefined where there was no answer. */
  readonly status?: number | undefined;
  /** Milliseconds that the receiver asks to be left alone. */
  readonly retryAfter?: number | undefined;
  /** The beginning of the answer. */
  readonly body?: string | undefined;
  /** Why there was no answer, or why it was not sent. */
  readonly error?: string | undefined;
  /** It will not go better another time. */
  readonly final?: boolean | undefined;
}

export type NextStep =
  | { readonly step: "succeeded" }
  | { readonly step: "retry"; readonly at: number }
  /** `gone`: the receiver says that it wants no more (410). */
  | { readonly step: "failed"; readonly gone: boolean };

/**
 * What follows an attempt. 2xx is success; everything else, redirects included, is a failure.
 *
 * @param attempts how many there have been, this one included.
 * @param maxAttempts after how many the delivery has failed.
 * @param random between 0 and 1.
 */
export function nextStep(
  attempts: number,
  result: AttemptResult,
  now: number,
  random: number,
  maxAttempts = SCHEDULE.length,
): NextStep {
  const { status = 0, retryAfter = 0, final = false } = result;
  if (status >= 200 && status < 300) return { step: "succeeded" };
  if (status === 410) return { step: "failed", gone: true };
  const wait = SCHEDULE[attempts];
  if (wait === undefined || attempts >= maxAttempts || final) return { step: "failed", gone: false };
  const jittered = wait * (1 + JITTER * (2 * random - 1));
  return { step: "retry", at: now + Math.round(Math.max(jittered, Math.min(retryAfter, MAX_RETRY_AFTER))) };
}

/** The seconds that a message may wait for something that is due at a time, in one hop. */
export function hopSeconds(dueAt: number, now: number): number {
  return Math.min(Math.max(0, Math.ceil((dueAt - now) / SECOND)), MAX_HOP_SECONDS);
}

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110 §10.2.3); undefined for anything else. */
export function readRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * SECOND;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
