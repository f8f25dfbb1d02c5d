import type { EventData } from "../outbox/event-data.ts";
import { HOUR_MS, MINUTE_MS } from "../time/lengths.ts";

const SECOND = 1000;

/** How long to wait before each attempt, in milliseconds: the schedule that Standard Webhooks recommends. */
export const SCHEDULE: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
];

const ALL_ATTEMPTS = SCHEDULE.length;
/** For events that an agent or a stranger can cause at no cost by being refused, and for a test, whose result somebody waits for. */
const FEW_ATTEMPTS = 3;

const ATTEMPTS: Readonly<Record<keyof EventData, number>> = {
  "agent.registered": ALL_ATTEMPTS,
  "agent.verified": ALL_ATTEMPTS,
  "agent.verification_failed": FEW_ATTEMPTS,
  "agent.revoked": ALL_ATTEMPTS,
  "agent.status_updated": ALL_ATTEMPTS,
  "agent.tier_updated": ALL_ATTEMPTS,
  "agent.permissions_updated": ALL_ATTEMPTS,
  "agent.updated": ALL_ATTEMPTS,
  "agent.deleted": ALL_ATTEMPTS,
  "agent.key_rotated": ALL_ATTEMPTS,
  "agent.key_created": ALL_ATTEMPTS,
  "agent.key_deleted": ALL_ATTEMPTS,
  "token.reuse_detected": ALL_ATTEMPTS,
  "session.limit_reached": ALL_ATTEMPTS,
  "grant.expiring": ALL_ATTEMPTS,
  "gateway.denied": FEW_ATTEMPTS,
  "webhook.disabled": ALL_ATTEMPTS,
  "webhook.test": FEW_ATTEMPTS,
};

/** How often a delivery of an event is attempted before it fails. An unknown event has the short schedule. */
export const maxAttemptsFor = (event: string): number =>
  Object.hasOwn(ATTEMPTS, event) ? ATTEMPTS[event as keyof EventData] : FEW_ATTEMPTS;

/** The longest delay of a queue message, in seconds. A longer wait needs several messages, one after the other. */
const MAX_HOP_SECONDS = 12 * 3600;
/** The longest time that a receiver's `Retry-After` postpones an attempt, in milliseconds. */
const MAX_RETRY_AFTER = 24 * HOUR_MS;
/** The jitter, up to a tenth either way, so that receivers that failed together are not called together again. */
const JITTER = 0.1;

/** The result of one attempt. */
export interface AttemptResult {
  /** Undefined if there was no response. */
  readonly status?: number | undefined;
  /** `Retry-After` of the response, in milliseconds. */
  readonly retryAfter?: number | undefined;
  /** The beginning of the response's body. */
  readonly body?: string | undefined;
  /** Why there was no response, or why nothing was sent. */
  readonly error?: string | undefined;
  /** How long the receiver took to answer, or the attempt to fail, in milliseconds. */
  readonly durationMs?: number | undefined;
  /** Whether another attempt would fail for the same reason. */
  readonly final?: boolean | undefined;
}

export type NextStep =
  | { readonly step: "succeeded" }
  | { readonly step: "retry"; readonly at: number }
  /** `gone`: the receiver wants no more deliveries (410). */
  | { readonly step: "failed"; readonly gone: boolean };

/**
 * Returns what follows an attempt. 2xx is success. Every other status, redirects included, is a failure.
 *
 * @param attempts the number of attempts, this one included.
 * @param now milliseconds.
 * @param random between 0 and 1.
 * @param maxAttempts the number of attempts after which the delivery has failed.
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

/** The delay, in seconds, of a message for something that is due at a time. At most {@link MAX_HOP_SECONDS}. */
export function hopSeconds(dueAt: number, now: number): number {
  return Math.min(Math.max(0, Math.ceil((dueAt - now) / SECOND)), MAX_HOP_SECONDS);
}
