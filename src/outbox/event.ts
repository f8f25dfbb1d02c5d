import { timeOrderedId } from "../crypto/random.ts";
import type { EventData } from "./event-data.ts";
import { SCHEDULE } from "../webhooks/schedule.ts";

/** Every event that is really fired. */
export const EVENTS = [
  "agent.registered",
  "agent.verified",
  "agent.verification_failed",
  "agent.revoked",
  "agent.status_updated",
  "agent.tier_updated",
  "agent.permissions_updated",
  "agent.deleted",
  "agent.key_rotated",
  "token.reuse_detected",
  "gateway.denied",
  "webhook.disabled",
] as const;

export type EventName = (typeof EVENTS)[number];

const ALL_ATTEMPTS = SCHEDULE.length;
/** For what an agent can cause at no cost by being refused. */
const FEW_ATTEMPTS = 3;

/** How an event is held back. */
interface EventRule {
  /**
   * An agent, or a stranger who knows its id, can cause it over and over: above `MAX_EVENTS_PER_MINUTE` it is told as a count.
   * The others are an administrator's, or happen once to an agent.
   */
  readonly repeatable: boolean;
  /** How often a delivery is attempted before it has failed. */
  readonly attempts: number;
}

const EVENT_RULES: Readonly<Record<EventName, EventRule>> = {
  "agent.registered": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.verified": { repeatable: true, attempts: ALL_ATTEMPTS },
  "agent.verification_failed": { repeatable: true, attempts: FEW_ATTEMPTS },
  "agent.revoked": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.status_updated": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.tier_updated": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.permissions_updated": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.deleted": { repeatable: false, attempts: ALL_ATTEMPTS },
  "agent.key_rotated": { repeatable: true, attempts: ALL_ATTEMPTS },
  "token.reuse_detected": { repeatable: true, attempts: ALL_ATTEMPTS },
  "gateway.denied": { repeatable: true, attempts: FEW_ATTEMPTS },
  "webhook.disabled": { repeatable: true, attempts: ALL_ATTEMPTS },
};

/** Events of one name that one agent causes in a minute and that are told one by one; the rest of the minute is one event. */
export const MAX_EVENTS_PER_MINUTE = 10;

/** Whether an event counts towards `MAX_EVENTS_PER_MINUTE`. One that stands for many (`data.count`) does not. */
export const isLimited = ({ name, data }: Pick<Event, "name" | "data">): boolean =>
  EVENT_RULES[name].repeatable && data.count === undefined;

/** How often a delivery of an event is attempted. A test (`webhook.test`) is sent by somebody who watches. */
export const attemptsFor = (name: string): number =>
  Object.hasOwn(EVENT_RULES, name) ? EVENT_RULES[name as EventName].attempts : FEW_ATTEMPTS;

/** Something that an owner may want to be told of. `at` is milliseconds. */
export interface Event {
  readonly id: string;
  readonly agentId: string;
  readonly name: EventName;
  readonly at: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The longest text that an event quotes, in characters, and the longest list. */
const MAX_TEXT = 512;
const MAX_LIST = 50;

/**
 * A new event, whose `data` is as `EVENT_DATA` describes it. Texts and lists that are longer than an event may quote are cut.
 *
 * @param at milliseconds.
 */
export function newEvent<Name extends EventName>(
  name: Name,
  agentId: string,
  at: number,
  data: EventData[Name],
): Event {
  const quoted = Object.entries(data).map(([key, value]) => [key, quote(value)]);
  return { id: timeOrderedId("evt_", at), agentId, name, at, data: Object.fromEntries(quoted) };
}

function quote(value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, MAX_TEXT);
  return Array.isArray(value) ? value.slice(0, MAX_LIST).map(quote) : value;
}

/** A path as an event quotes it: whole, or its beginning and the SHA-256 of the whole in the form of RFC 9530. */
export async function quotePath(path: string): Promise<{ path: string; path_digest?: string }> {
  if (path.length <= MAX_TEXT) return { path };
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(path)));
  return { path: path.slice(0, MAX_TEXT), path_digest: `sha-256=:${btoa(String.fromCharCode(...digest))}:` };
}

/** What a delivery tells: an event, or the test that is none. */
export type WebhookPayload = Omit<Event, "name"> & { readonly name: string };

/** The body of a delivery: what is signed, and the same at every attempt. */
export function toPayloadBody({ id, name, agentId, at, data }: WebhookPayload): string {
  return JSON.stringify({ id, event: name, agent_id: agentId, timestamp: new Date(at).toISOString(), data });
}
