import { timeOrderedId } from "../crypto/random.ts";
import { RECORD_ID_PREFIX, type AuditEntry } from "../outbox/record.ts";
import { MINUTE_MS } from "../time/lengths.ts";

/** A record of the audit log, as readers see it: what all of its entries say. */
export type AuditRecord = Omit<AuditEntry, "part" | "random" | "intentRandom">;

/** A text that sorts before every id of a record of this millisecond and after all earlier ones. @param at milliseconds. */
export const firstRecordIdAt = (at: number): string =>
  timeOrderedId(RECORD_ID_PREFIX, at).slice(0, RECORD_ID_PREFIX.length + 12);

/** A text that sorts before every id of a record of this second and after all earlier ones. @param second since the epoch. */
export const idOfSecond = (second: number): string => firstRecordIdAt(second * 1000);

/** The second in which the id of a record was made, since the epoch. */
export const secondOfId = (id: string): number => Math.floor(timeOfRecordId(id) / 1000);

/** The minute in which the id of a record was made, since the epoch. */
export const minuteOfId = (id: string): number => Math.floor(timeOfRecordId(id) / MINUTE_MS);

/** Ids of records: those from `fromId` on, and before `beforeId`. Both begin like an id. */
export interface IdRange {
  readonly fromId: string;
  readonly beforeId: string;
}

/** Texts that begin like an id, and sort before and after the ids of all records. */
export const [BEFORE_EVERY_ID, AFTER_EVERY_ID] = ["aud_000000000000", "aud_ffffffffffff"] as const;

/** The time at which the id of a record was made, in milliseconds. */
export const timeOfRecordId = (id: string): number =>
  parseInt(id.slice(RECORD_ID_PREFIX.length, RECORD_ID_PREFIX.length + 12), 16);

/** The length of the id of a record. */
export const RECORD_ID_LENGTH = RECORD_ID_PREFIX.length + 32;

const RECORD_ID = new RegExp(`^${RECORD_ID_PREFIX}[0-9a-f]{32}$`);

/** Whether a text has the form of the id of a record. */
export const isRecordId = (text: string): boolean => RECORD_ID.test(text);

/** Returns the record that an entry is, or becomes if nothing more is heard of it. */
export function toRecord({ part, random: _random, intentRandom: _intent, ...record }: AuditEntry): AuditRecord {
  return part === "intent" ? { ...record, outcome: "unknown" } : record;
}

/**
 * Whether somebody else than the agent that it is about and its reader did it, and not a stranger. Then the reader does not see from which
 * address, unless they see everything.
 *
 * @param readerId the agent or the person who reads it.
 */
export const isByOther = (
  { actor, agentId }: Pick<AuditRecord, "actor" | "agentId">,
  readerId: string | null = agentId,
): boolean => actor !== null && actor.id !== agentId && actor.id !== readerId;
