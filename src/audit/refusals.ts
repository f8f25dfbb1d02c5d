import { logFailure } from "../log/failure-log.ts";
import { newChangeId } from "../outbox/change.ts";
import { newEntry, newRecordId, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import type { RefusalsMessage } from "./message.ts";
import { readFinished, settleCounts, type RefusalCount } from "./store/refusals.ts";
import { insertRecords } from "./store/records.ts";
import { MINUTE_MS } from "../time/lengths.ts";

/** A request that was refused, of a sender who may repeat it as often as they like. */
export interface Refusal {
  /** What the record is; absent: `request.refused`. */
  readonly action?: "person.sign_in_refused";
  /** What is counted as one: the session or the key of a token that we signed, or else the network of the address. */
  readonly subject: string;
  /** The code of the error, or what else the record says. */
  readonly code: string;
  readonly status: number;
  readonly method: string;
  /** Of the URL, as it was sent: never its query, which may hold a secret. */
  readonly path: string;
  /** The agent that the token names, which must be one that we signed. */
  readonly agentId?: string;
  readonly origin: RecordOrigin;
}

interface RefusalContext {
  readonly env: Pick<Env, "ACTIVITY">;
  /** Milliseconds. */
  readonly now: number;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** How long an isolate gathers refusals before it sends them, in milliseconds. */
const GATHER_MS = 5000;

/** How many subjects and codes one message tells apart. The rest is one count for each code. */
const MAX_APART = 100;

/** The longest path that the record of a refusal quotes, in characters. */
export const MAX_PATH_LENGTH = 512;

/** The subject of those that are not told apart. */
const OTHERS = "";

/** What an isolate has counted and not sent yet. */
interface Gathered {
  counts: Map<string, RefusalCount>;
  /** Milliseconds; undefined if nothing is sent. */
  sentAt: number | undefined;
  isWaiting: boolean;
}

/** For each deployment, that is each `env`. */
const gathered = new WeakMap<object, Gathered>();

/**
 * Counts a refusal for the audit log: one record a minute for each subject and code. Costs no message of its own: the first is sent
 * at once, and those of the following seconds together. What an isolate has not sent when it ends is not counted.
 *
 * @param wait resolves after so many milliseconds.
 */
export function countRefusal(
  { env, now, waitUntil }: RefusalContext,
  refusal: Refusal,
  wait: (ms: number) => Promise<unknown> = (ms) => scheduler.wait(ms),
): void {
  const own = gathered.get(env) ?? { counts: new Map<string, RefusalCount>(), sentAt: undefined, isWaiting: false };
  gathered.set(env, own);
  add(own.counts, refusal, now);
  if (own.sentAt === undefined || now - own.sentAt >= GATHER_MS || now < own.sentAt) {
    waitUntil(send(env, own, now));
  } else if (!own.isWaiting) {
    own.isWaiting = true;
    waitUntil(
      wait(GATHER_MS).then(() => {
        own.isWaiting = false;
        return own.counts.size > 0 ? send(env, own, now + GATHER_MS) : undefined;
      }),
    );
  }
}

function add(counts: Map<string, RefusalCount>, refusal: Refusal, now: number): void {
  const minute = Math.floor(now / MINUTE_MS);
  const nameOf = (subject: string) => JSON.stringify([minute, subject, refusal.code]);
  const isApart = counts.has(nameOf(refusal.subject)) || counts.size < MAX_APART;
  const subject = isApart ? refusal.subject : OTHERS;
  const name = nameOf(subject);
  const counted = counts.get(name);
  if (counted) {
    counts.set(name, { ...counted, count: counted.count + 1 });
    return;
  }
  const entry = entryOf(refusal, now, isApart);
  counts.set(name, { minute, subject, code: refusal.code, agentId: entry.agentId ?? "", entry, count: 1 });
}

/** @param isApart whether the count is of one subject, so that the record may say whose it is. */
function entryOf(refusal: Refusal, now: number, isApart: boolean): AuditEntry {
  const { action = "request.refused", agentId = null, origin, status, method, code } = refusal;
  const unknown = { actor: null, act: [], ipAddress: null, requestId: null, keyId: null, sessionId: null };
  return newEntry(action, now, isApart ? origin : unknown, {
    outcome: "denied",
    agentId: isApart ? agentId : null,
    status,
    message: code,
    ...(isApart && { method, path: refusal.path.slice(0, MAX_PATH_LENGTH) }),
  });
}

async function send({ ACTIVITY }: RefusalContext["env"], own: Gathered, now: number): Promise<void> {
  const refusals = [...own.counts.values()];
  own.counts = new Map();
  own.sentAt = now;
  try {
    await ACTIVITY.send({ kind: "refusals", refusals } satisfies RefusalsMessage);
  } catch (cause) {
    const count = refusals.reduce((sum, one) => sum + one.count, 0);
    logFailure("refusals_not_counted", cause, { count });
  }
}

/** How many counts one step records. */
const MAX_RECORDED = 100;

/**
 * Records the refusals of minutes that are over: one record for each subject and code, with their number. Of two runs at once, the second
 * records nothing.
 *
 * @param now milliseconds.
 * @returns how many counts it recorded, or `limit` if there may be more.
 */
export async function recordRefusals(db: D1Database, now: number, limit: number): Promise<number> {
  // A minute is over once the messages of its last seconds have come.
  const counts = await readFinished(db, Math.floor(now / MINUTE_MS) - 1, MAX_RECORDED);
  if (counts.length === 0) return 0;
  const entries = counts.map(({ entry, count }) => ({ ...entry, count }));
  const next = counts.map(() => newRecordId(now));
  await insertRecords(db, entries, newChangeId(), now, settleCounts(db, counts, next));
  return counts.length === MAX_RECORDED ? limit : counts.length;
}
