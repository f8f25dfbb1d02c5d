import type { Actor } from "../authority/actor-row.ts";
import { timeOrderedId, toHex } from "../crypto/random.ts";

/** Everything that the audit log records, as `room.verb`. */
export const ACTIONS = [
  "gateway.call",
  "request.refused",
  "agent.registered",
  "agent.approved",
  "agent.status_updated",
  "agent.tier_updated",
  "agent.permissions_updated",
  "agent.updated",
  "agent.deleted",
  "key.created",
  "key.rotated",
  "key.deleted",
  "token.issued",
  "token.refused",
  "token.exchanged",
  "token.refreshed",
  "token.reuse_detected",
  "token.revoked",
  "session.ended",
  "session.limit_reached",
  "webhook.created",
  "webhook.updated",
  "webhook.deleted",
  "webhook.secret_regenerated",
  "webhook.tested",
  "webhook.redelivered",
  "webhook.disabled",
  "person.created",
  "person.updated",
  "person.deleted",
  "person.signed_in",
  "person.sign_in_refused",
  "person.session_ended",
  "command.decided",
  "link.created",
  "passkey.created",
  "passkey.deleted",
  "login.created",
  "login.deleted",
  "service.checked",
  "audit.read",
  "audit.exported",
] as const;

export type Action = (typeof ACTIONS)[number];

/** Every outcome of a record. */
export const OUTCOMES = ["success", "denied", "failed", "unknown"] as const;

/** How what a record tells of ended. `denied`: we refused it. `failed`: it was tried. `unknown`: its end was never heard of. */
export type Outcome = (typeof OUTCOMES)[number];

/** One link of a chain of delegation (RFC 8693 §4.1), as it was. */
export interface ActLink {
  readonly sub: string;
}

/** One entry of the audit log. What does not apply is null. */
export interface AuditEntry {
  /** `aud_` and a time-ordered id. The intent and the end of a write have the same. */
  readonly id: string;
  /** A write through the gateway has an intent before it is sent, and an end. Everything else is whole. */
  readonly part: "whole" | "intent" | "end";
  /** Milliseconds. */
  readonly at: number;
  readonly action: Action;
  readonly outcome: Outcome;
  /** Whom it is about. */
  readonly agentId: string | null;
  /** Who did it; null: a stranger. */
  readonly actor: Actor | null;
  /** The chain of delegation, the outermost actor first. */
  readonly act: readonly ActLink[];
  readonly ipAddress: string | null;
  readonly requestId: string | null;
  readonly keyId: string | null;
  readonly sessionId: string | null;
  readonly service: string | null;
  readonly method: string | null;
  readonly path: string | null;
  /** The line of the rule that matched. */
  readonly rule: string | null;
  /** What the request needs, with spaces between. */
  readonly permission: string | null;
  /** What we answered. */
  readonly status: number | null;
  readonly upstreamStatus: number | null;
  readonly durationMs: number | null;
  readonly bytesIn: number | null;
  readonly bytesOut: number | null;
  /** How many requests it represents; null: one. */
  readonly count: number | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly message: string | null;
  /** 32 bytes in hexadecimal: 16 that the entry's leaf commits to, and 16 that the salts of its private fields are derived from. */
  readonly random: string;
  /** `random` of the intent, in an end: the end of a write says everything that its intent has said. */
  readonly intentRandom: string | null;
}

/** What is told of a record beside what it is about, and in what request. */
type RecordDetails = Partial<
  Omit<AuditEntry, "action" | "at" | "random" | "actor" | "act" | "ipAddress" | "requestId">
>;

/** What a request says of itself in each record that it causes. */
export type RecordOrigin = Pick<AuditEntry, "actor" | "act" | "ipAddress" | "requestId" | "keyId" | "sessionId">;

/** What AgentAuth does by itself, in a scheduled job. */
export const SYSTEM_ORIGIN: RecordOrigin = {
  actor: { type: "system", id: null, name: null },
  act: [],
  ipAddress: null,
  requestId: null,
  keyId: null,
  sessionId: null,
};

/** The id of who acts, for a record's message, or what it is if it has none. */
export const nameOfActor = ({ actor }: Pick<RecordOrigin, "actor">): string =>
  actor === null ? "a stranger" : (actor.id ?? (actor.type === "system" ? "agentauth" : `the ${actor.type} token`));

/** The prefix of a record's id. */
export const RECORD_ID_PREFIX = "aud_";

/** A new id of a record. @param at milliseconds. */
export const newRecordId = (at: number): string => timeOrderedId(RECORD_ID_PREFIX, at);

/** A text that sorts before every id of a record of this millisecond and after all earlier ones. @param at milliseconds. */
export const firstRecordIdAt = (at: number): string => newRecordId(at).slice(0, RECORD_ID_PREFIX.length + 12);

const NOTHING = {
  part: "whole",
  outcome: "success",
  agentId: null,
  service: null,
  method: null,
  path: null,
  rule: null,
  permission: null,
  status: null,
  upstreamStatus: null,
  durationMs: null,
  bytesIn: null,
  bytesOut: null,
  count: null,
  before: null,
  after: null,
  message: null,
  intentRandom: null,
} as const;

/**
 * A new entry of the audit log.
 *
 * @param at milliseconds.
 * @param more what applies to it; `id` for the second entry of a record; `keyId` and `sessionId` if it is about others than those of the request.
 */
export function newEntry(action: Action, at: number, origin: RecordOrigin, more: RecordDetails): AuditEntry {
  return { ...NOTHING, id: newRecordId(at), ...origin, ...more, action, at, random: newRandom() };
}

/** The `random` of a new entry. */
export const newRandom = (): string => toHex(crypto.getRandomValues(new Uint8Array(32)));
