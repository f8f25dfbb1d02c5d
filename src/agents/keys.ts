import type { Peppers } from "../crypto/pepper.ts";
import { newEvent } from "../outbox/event.ts";
import { newApiKey, toStoredKey } from "./api-key.ts";
import type { AgentChange } from "./change.ts";
import type { AgentKey } from "./key.ts";
import type { PagePosition } from "./page.ts";
import { deleteKeyOf, insertKey, readKeys } from "./store/keys.ts";

/** What a new key is called, and where and how long it may be used. */
export interface KeySettings {
  readonly label: string | null;
  /** Milliseconds; null: until it is rotated or deleted. */
  readonly lifeMs: number | null;
  /** As `parseNetwork` spells them; null: from everywhere that its agent may be used from. */
  readonly allowedIps: readonly string[] | null;
}

export type CreatedKey =
  | { readonly result: "created"; readonly key: AgentKey; readonly apiKey: string }
  | { readonly result: "unknown" | "already_revoked" | "too_many" };

/** Gives an agent another key, which is returned here and never again. One D1 round trip. */
export async function createKey(
  db: D1Database,
  { id, by, now }: AgentChange,
  { label, lifeMs, allowedIps }: KeySettings,
  peppers: Peppers,
): Promise<CreatedKey> {
  const apiKey = newApiKey();
  const stored = await toStoredKey(apiKey, peppers);
  const event = newEvent("agent.key_created", id, now, {
    agent_id: id,
    key_id: stored.id,
    label,
    created_at: new Date(now).toISOString(),
    created_by: by.agentId,
  });
  const { key, agent } = await insertKey(db, id, { key: stored, label, lifeMs, allowedIps, by, event });
  if (key) return { result: "created", key, apiKey };
  if (!agent) return { result: "unknown" };
  return { result: agent.status === "revoked" ? "already_revoked" : "too_many" };
}

/**
 * Ends a key of an agent, and the sessions that it opened. One D1 round trip.
 *
 * @returns the ids of those sessions, or undefined if the agent has no such key.
 */
export function deleteKey(
  db: D1Database,
  { id, by, now }: AgentChange,
  keyId: string,
): Promise<readonly string[] | undefined> {
  const event = newEvent("agent.key_deleted", id, now, {
    agent_id: id,
    key_id: keyId,
    deleted_at: new Date(now).toISOString(),
    deleted_by: by.agentId,
  });
  return deleteKeyOf(db, id, keyId, { by, event });
}

/** One page of the valid keys of an agent, the newest first: one row more than the limit if there are more. Undefined for no agent. */
export async function listKeys(
  db: D1Database,
  agentId: string,
  { limit, after }: { limit: number; after: PagePosition | undefined },
): Promise<AgentKey[] | undefined> {
  const { keys, agentExists } = await readKeys(db, agentId, { limit: limit + 1, after });
  return agentExists ? keys : undefined;
}
