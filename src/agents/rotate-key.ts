import type { Peppers } from "../crypto/pepper.ts";
import { newEvent } from "../outbox/event.ts";
import type { Agent } from "./agent.ts";
import { newApiKey, toStoredKey } from "./api-key.ts";
import type { AgentChange } from "./change.ts";
import { replaceKey } from "./store/keys.ts";

export type RotatedKey =
  /** `previousExpiresAt`: until when the former keys are valid, in milliseconds. */
  | { readonly result: "rotated"; readonly apiKey: string; readonly previousExpiresAt: number; readonly agent: Agent }
  | { readonly result: "unknown" | "already_revoked" };

/**
 * Gives an agent a new key. The former keys stay valid for the overlap. Without an overlap, which is for a key that somebody else may
 * have, the former keys are deleted and every session is revoked. One D1 round trip.
 *
 * @param overlapMs milliseconds.
 */
export async function rotateKey(
  db: D1Database,
  { id, by, now }: AgentChange,
  overlapMs: number,
  peppers: Peppers,
): Promise<RotatedKey> {
  const apiKey = newApiKey();
  const { rotatedAt, agent } = await replaceKey(db, id, {
    key: await toStoredKey(apiKey, peppers),
    overlapMs,
    by,
    event: newEvent("agent.key_rotated", id, now, {
      agent_id: id,
      rotated_at: new Date(now).toISOString(),
      rotated_by: by.agentId,
      previous_key_expires_at: new Date(now + overlapMs).toISOString(),
    }),
  });
  if (!agent) return { result: "unknown" };
  if (rotatedAt === undefined) return { result: "already_revoked" };
  return { result: "rotated", apiKey, previousExpiresAt: rotatedAt + overlapMs, agent };
}
