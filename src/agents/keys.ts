import { actorId } from "../authority/authority.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { newEvent } from "../outbox/event.ts";
import { newApiKey, toStoredKey } from "./api-key.ts";
import { changeRecord, type AgentChange } from "./change.ts";
import type { AgentKey, EndingKey } from "./key.ts";
import type { PagePosition } from "./page.ts";
import { toStoredPublicKey, type PublicJwk } from "./public-key.ts";
import {
  deleteKeyOf,
  insertKey,
  readEndingKeys,
  readKeys,
  type EndingKeysQuery,
  type NewStoredKey,
} from "./store/keys.ts";

/** What a new key is called, and where and how long it may be used. */
export interface KeySettings {
  readonly label: string | null;
  /** Milliseconds; null: until it is rotated or deleted. */
  readonly lifeMs: number | null;
  /** As `parseNetwork` spells them; null: from everywhere that its agent may be used from. */
  readonly allowedIps: readonly string[] | null;
}

/** Why an agent gets no further key. */
type KeyRefusal = {
  /** `wider`: it could be used from other networks than the key by which the agent has proved itself. */
  readonly result: "unknown" | "already_revoked" | "too_many" | "wider";
};

export type CreatedKey = { readonly result: "created"; readonly key: AgentKey; readonly apiKey: string } | KeyRefusal;

export type AddedPublicKey =
  | { readonly result: "created"; readonly key: AgentKey }
  /** Another key of the agent has the same `kid`. */
  | { readonly result: "kid_taken" }
  | KeyRefusal;

/** Gives an agent another API key, which is returned here and never again. One D1 round trip. */
export async function createKey(
  db: D1Database,
  change: AgentChange,
  settings: KeySettings,
  peppers: Peppers,
): Promise<CreatedKey> {
  const apiKey = newApiKey();
  const added = await addKey(db, change, settings, await toStoredKey(apiKey, peppers));
  if (added.result === "kid_taken") throw new Error("an API key has no kid");
  return added.result === "created" ? { ...added, apiKey } : added;
}

/** Registers a public key of an agent, which then proves itself with assertions (RFC 7523). One D1 round trip. */
export const addPublicKey = (
  db: D1Database,
  change: AgentChange,
  settings: KeySettings,
  jwk: PublicJwk,
): Promise<AddedPublicKey> => addKey(db, change, settings, toStoredPublicKey(jwk));

async function addKey(
  db: D1Database,
  change: AgentChange,
  { label, lifeMs, allowedIps }: KeySettings,
  stored: NewStoredKey,
): Promise<AddedPublicKey> {
  const { id, by, now } = change;
  const event = newEvent("agent.key_created", id, now, {
    agent_id: id,
    key_id: stored.id,
    label,
    created_at: new Date(now).toISOString(),
    created_by: actorId(by),
  });
  const record = changeRecord(change, "key.created", {
    message: `${"jwk" in stored ? "public" : "API"} key ${stored.id} ${"jwk" in stored ? "registered" : "created"}`,
  });
  const added = { key: stored, label, lifeMs, allowedIps, by, event, record };
  const { key, agent, isKidTaken, isWider } = await insertKey(db, id, added);
  if (key) return { result: "created", key };
  if (!agent) return { result: "unknown" };
  if (agent.status === "revoked") return { result: "already_revoked" };
  return { result: isWider ? "wider" : isKidTaken ? "kid_taken" : "too_many" };
}

/**
 * Ends a key of an agent, and the sessions that it opened. One D1 round trip.
 *
 * @returns the ids of those sessions, or undefined if the agent has no such key.
 */
export function deleteKey(db: D1Database, change: AgentChange, keyId: string): Promise<readonly string[] | undefined> {
  const { id, by, now } = change;
  const event = newEvent("agent.key_deleted", id, now, {
    agent_id: id,
    key_id: keyId,
    deleted_at: new Date(now).toISOString(),
    deleted_by: actorId(by),
  });
  const record = changeRecord(change, "key.deleted", { message: `API key ${keyId} deleted` });
  return deleteKeyOf(db, id, keyId, { by, event, record });
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

/**
 * One page of the keys that end within a time, those that end first at the front. Keys of revoked agents are left out, so that a page
 * may have fewer keys than its limit, or none, and still not be the last. One D1 round trip, which reads a bounded number of rows.
 *
 * @returns also where the next page begins, or null on the last one. The `createdAt` of such a position is the end of a key.
 */
export async function listEndingKeys(
  db: D1Database,
  query: EndingKeysQuery,
): Promise<{ readonly keys: readonly EndingKey[]; readonly next: PagePosition | null }> {
  const rows = await readEndingKeys(db, { ...query, limit: query.limit + 1 });
  const page = rows.slice(0, query.limit);
  const last = page.at(-1)?.key;
  return {
    keys: page.filter(({ isUsable }) => isUsable),
    next: rows.length > page.length && last ? { createdAt: last.expiresAt, id: last.id } : null,
  };
}
