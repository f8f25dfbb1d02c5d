import { toBase64 } from "../crypto/base64.ts";
import { sha256 } from "../crypto/digest.ts";
import { timeOrderedId } from "../crypto/random.ts";
import type { EventData, EventName } from "./event-data.ts";

export type { EventName };

/**
 * Whether an agent, or a stranger who knows its id, can cause an event over and over. Above {@link MAX_EVENTS_PER_MINUTE} such
 * events are sent as one event with a count. The other events are caused by an administrator, or happen once to an agent.
 */
const IS_REPEATABLE: Readonly<Record<EventName, boolean>> = {
  "agent.registered": false,
  "agent.verified": true,
  "agent.verification_failed": true,
  "agent.revoked": false,
  "agent.status_updated": false,
  "agent.tier_updated": false,
  "agent.permissions_updated": false,
  "agent.updated": true,
  "agent.deleted": false,
  "agent.key_rotated": true,
  "agent.key_created": true,
  "agent.key_deleted": true,
  "token.reuse_detected": true,
  "session.limit_reached": true,
  "grant.expiring": false,
  "gateway.denied": true,
  "webhook.disabled": true,
};

/** Every event that a webhook can subscribe to. */
export const EVENTS = Object.keys(IS_REPEATABLE) as readonly EventName[];

/** Events of one name that one agent causes in a minute and that are sent one by one; the rest of the minute is one event. */
export const MAX_EVENTS_PER_MINUTE = 10;

/**
 * Whether an event counts towards {@link MAX_EVENTS_PER_MINUTE}. An event that represents many (`data.count`) does not. An event
 * that this version does not know, which a newer one has inserted, does.
 */
export const isLimited = ({ name, data }: Pick<Event, "name" | "data">): boolean =>
  (!Object.hasOwn(IS_REPEATABLE, name) || IS_REPEATABLE[name]) && data.count === undefined;

/** Something that happened to an agent and that webhooks can subscribe to. */
export interface Event {
  readonly id: string;
  readonly agentId: string;
  readonly name: EventName;
  /** Milliseconds. */
  readonly at: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The longest text that an event quotes, in characters. */
const MAX_TEXT_LENGTH = 512;
/** The longest list that an event quotes, in entries. */
const MAX_LIST_LENGTH = 50;

/**
 * A new event, with `data` as `EVENT_DATA` describes it. Texts and lists that are too long are cut.
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

/** The event that represents those above the limit of a minute: the newest of them, with their number. */
export function newCountEvent({ agentId, name, at, data, total, since }: EventCount): Event {
  const count = total - MAX_EVENTS_PER_MINUTE;
  return {
    id: timeOrderedId("evt_", at),
    agentId,
    name,
    at,
    data: { ...data, count, since: new Date(since).toISOString() },
  };
}

/** How many events of one name an agent has caused in a minute. Times are milliseconds. */
export interface EventCount {
  readonly agentId: string;
  readonly name: EventName;
  /** Minutes since the epoch. */
  readonly minute: number;
  readonly total: number;
  /** When the first event above the limit happened. */
  readonly since: number;
  /** When the newest event happened. */
  readonly at: number;
  /** The newest event's data. */
  readonly data: Event["data"];
}

function quote(value: unknown): unknown {
  if (typeof value === "string") return value.slice(0, MAX_TEXT_LENGTH);
  return Array.isArray(value) ? value.slice(0, MAX_LIST_LENGTH).map(quote) : value;
}

/** A path as an event quotes it: the whole path, or its beginning and the SHA-256 of the whole in the form of RFC 9530. */
export async function quotePath(path: string): Promise<{ path: string; path_digest?: string }> {
  if (path.length <= MAX_TEXT_LENGTH) return { path };
  return { path: path.slice(0, MAX_TEXT_LENGTH), path_digest: `sha-256=:${toBase64(await sha256(path))}:` };
}
