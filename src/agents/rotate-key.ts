import { actorId } from "../authority/authority.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { newEvent } from "../outbox/event.ts";
import type { Agent } from "./agent.ts";
import { newApiKey, toStoredKey } from "./api-key.ts";
import { changeRecord, type AgentChange } from "./change.ts";
import { replaceKey } from "./store/keys.ts";

export interface Rotation {
  /** The key that is replaced. Undefined for every secret key; without an overlap for every key, public ones included. */
  readonly keyId: string | undefined;
  /** How long the former keys stay valid, in milliseconds. */
  readonly overlapMs: number;
}

export type RotatedKey =
  | {
      readonly result: "rotated";
      readonly apiKey: string;
      /** Until when the former keys are valid, in milliseconds. */
      readonly previousExpiresAt: number;
      readonly agent: Agent;
      /** The sessions that have ended with the one key that was replaced without an overlap. */
      readonly endedSessions: readonly string[];
    }
  | { readonly result: "unknown" | "already_revoked" | "unknown_key" };

/**
 * Gives an agent a new key. The former keys stay valid for the overlap. Without an overlap, which is for a key that somebody else may
 * have, the former keys are deleted and their sessions are ended: all of the agent's, unless one key is named. One D1 round trip.
 */
export async function rotateKey(
  db: D1Database,
  change: AgentChange,
  { keyId, overlapMs }: Rotation,
  peppers: Peppers,
): Promise<RotatedKey> {
  const { id, by, now } = change;
  const apiKey = newApiKey();
  const { rotatedAt, agent, keyExists, endedSessions } = await replaceKey(db, id, {
    key: await toStoredKey(apiKey, peppers),
    keyId,
    overlapMs,
    by,
    record: changeRecord(change, "key.rotated", { message: "API key rotated" }),
    event: newEvent("agent.key_rotated", id, now, {
      agent_id: id,
      rotated_at: new Date(now).toISOString(),
      rotated_by: actorId(by),
      previous_key_expires_at: new Date(now + overlapMs).toISOString(),
    }),
  });
  if (!agent) return { result: "unknown" };
  if (!keyExists) return { result: "unknown_key" };
  if (rotatedAt === undefined) return { result: "already_revoked" };
  return { result: "rotated", apiKey, previousExpiresAt: rotatedAt + overlapMs, agent, endedSessions };
}
