import { newEvent } from "../outbox/event.ts";
import type { Agent } from "./agent.ts";
import { apiKeyHash, newApiKey } from "./api-key.ts";
import type { AgentChange } from "./change.ts";
import { replaceKey } from "./store.ts";

export type RotatedKey =
  | { readonly result: "rotated"; readonly apiKey: string; readonly previousExpiresAt: number; readonly agent: Agent }
  | { readonly result: "unknown" | "final" };

/**
 * Gives an agent a fresh key; the ones before it stay good for the overlap. Without an overlap a key is taken to be in
 * wrong hands: it is deleted, and every session that it opened ends with it. One D1 round trip.
 */
export async function rotateKey(
  db: D1Database,
  { id, by, now }: AgentChange,
  overlapMs: number,
  pepper: string,
): Promise<RotatedKey> {
  const apiKey = newApiKey();
  const { rotatedAt, agent } = await replaceKey(db, id, {
    hash: await apiKeyHash(apiKey, pepper),
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
  if (rotatedAt === undefined) return { result: "final" };
  return { result: "rotated", apiKey, previousExpiresAt: rotatedAt + overlapMs, agent };
}
