import { actorJson, toActor } from "../../authority/actor-row.ts";
import type { Authority } from "../../authority/authority.ts";
import { isPartOf, networksOfProof } from "../../authority/allowed-address-row.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { deletedRows, prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW, toTimestamp } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import type { Event } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import { AGENT_COLUMNS, END_TOKENS, toAgent, toJson, toList, type AgentRow } from "../agent-row.ts";
import type { Agent } from "../agent.ts";
import type { StoredKey } from "../api-key.ts";
import { MAX_KEYS_PER_AGENT, type AgentKey, type EndingKey } from "../key.ts";
import { MAX_SCANNED, type PagePosition } from "../page.ts";
import type { PublicJwk, StoredPublicKey } from "../public-key.ts";
import { selectAgent } from "./agents.ts";
import { KEY_STANDS } from "../../authority/token-row.ts";

interface KeyRow {
  id: string;
  type: "secret" | "jwk";
  label: string | null;
  hint: string;
  created_by: string | null;
  created_at: number;
  expires_at: number | null;
  last_used_at: number | null;
  allowed_ips: string | null;
  jwk: string | null;
}

const KEY_COLUMNS = sql`k.id, k.type, k.label, k.hint, k.created_by, k.created_at, k.expires_at, k.last_used_at, k.allowed_ips,
  k.jwk`;

/** JSON of what a record says of a key `k`: everything but what is secret. */
const KEY_JSON = sql`json_object('id', k.id, 'type', k.type, 'label', k.label, 'expires_at', ${toTimestamp(sql`k.expires_at`)},
  'allowed_ips', json(k.allowed_ips), 'kid', k.kid)`;

const toKey = (row: KeyRow): AgentKey => ({
  id: row.id,
  type: row.type,
  label: row.label,
  hint: row.hint,
  createdBy: toActor(row.created_by),
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
  allowedIps: toList(row.allowed_ips),
  jwk: row.jwk === null ? null : (JSON.parse(row.jwk) as PublicJwk),
});

/** The valid keys of an agent after a position, the newest first, and whether there is such an agent. */
export async function readKeys(
  db: D1Database,
  agentId: string,
  { limit, after }: { limit: number; after: PagePosition | undefined },
): Promise<{ keys: AgentKey[]; agentExists: boolean }> {
  const [keys, agents] = await db.batch<KeyRow>([
    prepare(
      db,
      sql`SELECT ${KEY_COLUMNS} FROM api_keys k WHERE k.agent_id = ${agentId} AND ${KEY_STANDS}
          AND (k.created_at, k.id) < (${after?.createdAt ?? Number.MAX_SAFE_INTEGER}, ${after?.id ?? ""})
        ORDER BY k.created_at DESC, k.id DESC LIMIT ${limit}`,
    ),
    prepare(db, sql`SELECT 1 FROM agents WHERE id = ${agentId}`),
  ]);
  return { keys: keys!.results.map(toKey), agentExists: agents!.results.length > 0 };
}

/**
 * Keys that end within a time, those that end first at the front, after a position whose `createdAt` is the end of a key. `isUsable`:
 * whether the agent is not revoked, so that its key still opens something.
 *
 * @param ownerId only those of the agents that this person owns: of their newest {@link MAX_SCANNED}.
 */
export async function readEndingKeys(
  db: D1Database,
  { withinMs, ownerId, limit, after }: EndingKeysQuery,
): Promise<(EndingKey & { readonly isUsable: boolean })[]> {
  // The unary + leaves the index to the position, from which on it is read.
  const ends = sql`+k.expires_at > ${DATABASE_NOW} AND k.expires_at <= ${DATABASE_NOW} + ${withinMs}
    AND (k.expires_at, k.id) > (max(${DATABASE_NOW}, ${after?.createdAt ?? 0}), ${after?.id ?? ""})`;
  const from =
    ownerId === undefined
      ? sql`api_keys k WHERE ${ends}`
      : sql`(SELECT id FROM agents WHERE owner_person_id = ${ownerId} ORDER BY created_at DESC, id DESC LIMIT ${MAX_SCANNED}) o
          CROSS JOIN api_keys k ON k.agent_id = o.id WHERE ${ends}`;
  const { results } = await prepare(
    db,
    sql`WITH page AS (
        SELECT k.id, k.expires_at FROM ${from}
        ORDER BY k.expires_at, k.id LIMIT ${limit})
      SELECT ${KEY_COLUMNS}, a.id AS agent_id, a.name AS agent_name, a.status <> 'revoked' AS is_usable
      FROM page p CROSS JOIN api_keys k ON k.id = p.id CROSS JOIN agents a ON a.id = k.agent_id
      ORDER BY p.expires_at, p.id`,
  ).all<KeyRow & { expires_at: number; agent_id: string; agent_name: string; is_usable: number }>();
  return results.map((row) => ({
    key: { ...toKey(row), expiresAt: row.expires_at },
    agentId: row.agent_id,
    agentName: row.agent_name,
    isUsable: row.is_usable === 1,
  }));
}

export interface EndingKeysQuery {
  /** Milliseconds from now. */
  readonly withinMs: number;
  readonly ownerId: string | undefined;
  readonly limit: number;
  readonly after: PagePosition | undefined;
}

/** A secret by its hash, or a public key. */
export type NewStoredKey = StoredKey | StoredPublicKey;

export interface AddedKey {
  readonly key: NewStoredKey;
  readonly label: string | null;
  /** Milliseconds; null: no end. */
  readonly lifeMs: number | null;
  readonly allowedIps: readonly string[] | null;
  readonly by: Authority;
  readonly event: Event;
  readonly record: AuditEntry;
}

/**
 * Inserts a key beside the others, unless the agent is revoked, has {@link MAX_KEYS_PER_AGENT}, or has a public key with the same `kid`,
 * which may have expired a moment ago, or if the key would be wider than the one that it is made with. Of two requests at once for the last place, or with one `kid`, the second finds it taken.
 */
export async function insertKey(
  db: D1Database,
  id: string,
  { key, label, lifeMs, allowedIps, by, event, record }: AddedKey,
): Promise<{ key: AgentKey | undefined; agent: Agent | undefined; isKidTaken: boolean; isWider: boolean }> {
  const changeId = newChangeId();
  const expiresAt = lifeMs === null ? sql`NULL` : sql`${DATABASE_NOW} + ${lifeMs}`;
  const kid = "jwk" in key ? key.jwk.kid : null;
  const values =
    "jwk" in key
      ? sql`'jwk', NULL, NULL, ${JSON.stringify(key.jwk)}, ${kid}`
      : sql`'secret', ${key.hash}, ${key.pepperId}, NULL, NULL`;
  const isKidTaken = sql`EXISTS (SELECT 1 FROM api_keys k WHERE k.agent_id = ${id} AND k.kid = ${kid} AND k.id <> ${key.id})`;
  const networks = networksOfProof(by, id);
  const isWider =
    allowedIps === null ? sql`0` : sql`(${networks} IS NOT NULL AND NOT ${isPartOf(allowedIps, networks)})`;
  type AgentOfKey = AgentRow & { kid_taken: number; is_wider: number };
  const [, , , inserted, agents] = await batchAsCaller<KeyRow & AgentOfKey>(db, by, [
    prepare(
      db,
      sql`INSERT INTO api_keys (id, agent_id, type, hash, pepper_id, jwk, kid, hint, label, created_by, created_at, expires_at,
          allowed_ips, change_id)
        SELECT ${key.id}, a.id, ${values}, ${key.hint}, ${label}, ${actorJson(by)}, ${DATABASE_NOW}, ${expiresAt},
          ${allowedIps === null ? networks : toJson(allowedIps)}, ${changeId}
        FROM agents a WHERE a.id = ${id} AND a.status <> 'revoked' AND NOT ${isKidTaken} AND NOT ${isWider}
          AND (SELECT count(*) FROM api_keys k WHERE k.agent_id = a.id AND ${KEY_STANDS}) < ${MAX_KEYS_PER_AGENT}`,
    ),
    insertEvent(db, event, { table: "api_keys", id: key.id, changeId }),
    insertRecordOf(db, record, { from: sql`FROM api_keys k WHERE k.id = ${key.id}`, fields: { after: KEY_JSON } }),
    prepare(db, sql`SELECT ${KEY_COLUMNS} FROM api_keys k WHERE k.id = ${key.id}`),
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${isKidTaken} AS kid_taken, ${isWider} AS is_wider FROM agents a WHERE a.id = ${id}`,
    ),
  ]);
  const [row] = inserted!.results;
  const [agent] = agents!.results;
  return {
    key: row && toKey(row),
    agent: agent && toAgent(agent),
    isKidTaken: agent?.kid_taken === 1,
    isWider: agent?.is_wider === 1,
  };
}

/**
 * Deletes a key of an agent, and ends the sessions that it opened.
 *
 * @returns the sessions that ended, or undefined if the agent has no such key.
 */
export async function deleteKeyOf(
  db: D1Database,
  agentId: string,
  keyId: string,
  { by, event, record }: { by: Authority; event: Event; record: AuditEntry },
): Promise<string[] | undefined> {
  const changeId = newChangeId();
  const isMarked = sql`EXISTS (SELECT 1 FROM api_keys WHERE id = ${keyId} AND change_id = ${changeId})`;
  const [, , , ended, deleted] = await batchAsCaller<{ id: string }>(db, by, [
    // A deleted row has no change id that the event could depend on, so it is written just before the deletion.
    prepare(db, sql`UPDATE api_keys SET change_id = ${changeId} WHERE id = ${keyId} AND agent_id = ${agentId}`),
    insertEvent(db, event, { table: "api_keys", id: keyId, changeId }),
    insertRecordOf(db, record, {
      from: sql`FROM api_keys k WHERE k.id = ${keyId} AND k.change_id = ${changeId}`,
      fields: { before: KEY_JSON },
    }),
    prepare(
      db,
      sql`UPDATE sessions SET ended_at = ${DATABASE_NOW}
        WHERE agent_id = ${agentId} AND key_id = ${keyId} AND ended_at IS NULL AND ${isMarked} RETURNING id`,
    ),
    prepare(db, sql`DELETE FROM api_keys WHERE id = ${keyId} AND change_id = ${changeId} RETURNING id`),
  ]);
  return deleted!.results.length > 0 ? ended!.results.map(({ id }) => id) : undefined;
}

export interface NewKey {
  readonly key: StoredKey;
  /** The key that is replaced, and no other. Undefined for every secret key. */
  readonly keyId: string | undefined;
  /** How long the former keys stay valid, in milliseconds. 0 deletes them and ends the sessions that they opened. */
  readonly overlapMs: number;
  readonly by: Authority;
  readonly event: Event;
  readonly record: AuditEntry;
}

export interface ReplacedKey {
  /** Milliseconds, by the database's clock: the overlap is counted from it. Undefined if nothing was changed. */
  readonly rotatedAt: number | undefined;
  readonly agent: Agent | undefined;
  /** Whether the agent had the key that was to be replaced. */
  readonly keyExists: boolean;
  /** Sessions that ended with one key. With all keys every token of the agent has ended. */
  readonly endedSessions: readonly string[];
}

/**
 * Inserts a key and sets the expiry of the former ones, unless the agent is revoked. If two rotations run at once, the key of the
 * first is one of the former keys of the second.
 *
 * A key that replaces one key has its label, its networks and its end, so that it may not be used for more than that one. If the agent has
 * proved itself with a key that may be used from some networks only, the new one may be used from these.
 */
export async function replaceKey(
  db: D1Database,
  id: string,
  { key, keyId, overlapMs, by, event, record }: NewKey,
): Promise<ReplacedKey> {
  const changeId = newChangeId();
  const others = sql`agent_id = ${id} AND id <> ${key.id}`;
  // Without an overlap and without an id, every key is one that somebody else may have: public ones too.
  const former =
    keyId === undefined
      ? sql`${others} AND ${overlapMs === 0 ? sql`1` : sql`type = 'secret'`}`
      : sql`${others} AND id = ${keyId}`;
  // A revoked agent gets no new key, and its keys stay as they are.
  const isInserted = sql`EXISTS (SELECT 1 FROM api_keys WHERE id = ${key.id})`;
  const endSessions =
    keyId === undefined
      ? sql`UPDATE agents SET ${END_TOKENS} WHERE id = ${id} AND ${isInserted} RETURNING id`
      : sql`UPDATE sessions SET ended_at = ${DATABASE_NOW}
          WHERE agent_id = ${id} AND key_id = ${keyId} AND ended_at IS NULL AND ${isInserted} RETURNING id`;
  // Without an overlap, the former keys are deleted, so that no clock decides when they end.
  const end =
    overlapMs === 0
      ? [prepare(db, sql`DELETE FROM api_keys WHERE ${former} AND ${isInserted}`), prepare(db, endSessions)]
      : [
          prepare(
            db,
            sql`UPDATE api_keys SET expires_at = min(fresh.ends_at, coalesce(expires_at, fresh.ends_at))
              FROM (SELECT created_at + ${overlapMs} AS ends_at FROM api_keys WHERE id = ${key.id}) fresh
              WHERE ${former}`,
          ),
          // Rotations in a row leave keys behind. Those that end first go, and never one that has no end.
          prepare(
            db,
            sql`DELETE FROM api_keys WHERE ${others} AND expires_at IS NOT NULL AND ${isInserted} AND id NOT IN (
              SELECT id FROM api_keys WHERE ${others}
              ORDER BY expires_at IS NULL DESC, expires_at DESC, created_at DESC, id LIMIT ${MAX_KEYS_PER_AGENT})`,
          ),
        ];
  const join = sql`JOIN api_keys k ON k.id = ${keyId ?? null} AND k.agent_id = a.id AND k.type = 'secret' AND ${KEY_STANDS}`;
  const networks = networksOfProof(by, id);
  const [inherited, from] =
    keyId === undefined
      ? [sql`NULL, NULL, ${networks}`, sql`agents a`]
      : [sql`k.label, k.expires_at, coalesce(${networks}, k.allowed_ips)`, sql`agents a ${join}`];
  const results = await batchAsCaller<AgentRow & { created_at: number }>(db, by, [
    prepare(db, sql`SELECT 1 FROM ${from} WHERE a.id = ${id}`),
    prepare(
      db,
      sql`INSERT INTO api_keys (id, agent_id, type, hash, pepper_id, hint, created_by, created_at, change_id,
          label, expires_at, allowed_ips)
        SELECT ${key.id}, a.id, 'secret', ${key.hash}, ${key.pepperId}, ${key.hint}, ${actorJson(by)}, ${DATABASE_NOW}, ${changeId},
          ${inherited}
        FROM ${from} WHERE a.id = ${id} AND a.status <> 'revoked'
        RETURNING created_at`,
    ),
    insertEvent(db, event, { table: "api_keys", id: key.id, changeId }),
    insertRecordOf(db, record, {
      from: sql`FROM api_keys k WHERE k.id = ${key.id}`,
      fields: {
        before: sql`json_object('key_ids', json((SELECT json_group_array(id) FROM api_keys WHERE ${former})))`,
        after: sql`json_object('key_id', k.id, 'overlap_seconds', ${overlapMs / 1000})`,
      },
    }),
    ...end,
    selectAgent(db, id),
  ]);
  const row = results.at(-1)!.results[0];
  const isOneEnded = keyId !== undefined && overlapMs === 0;
  return {
    rotatedAt: results[1]!.results[0]?.created_at,
    agent: row && toAgent(row),
    keyExists: results[0]!.results.length > 0,
    endedSessions: isOneEnded ? results[5]!.results.map((ended) => ended.id) : [],
  };
}

/** Uses of a key that lie closer together are stored as one, in milliseconds: a busy key costs one row a minute. */
const LAST_USED_STEP_MS = 60_000;

/** The statement that stores when keys were last used. A repeated or late message changes nothing. */
export function updateLastUsed(
  db: D1Database,
  uses: ReadonlyArray<{ readonly keyId: string | null; readonly at: number }>,
): D1PreparedStatement {
  const json = JSON.stringify(uses.flatMap(({ keyId, at }) => (keyId === null ? [] : [{ keyId, at }])));
  return prepare(
    db,
    sql`UPDATE api_keys SET last_used_at = v.at
      FROM (SELECT value ->> 'keyId' AS id, max(value ->> 'at') AS at FROM json_each(${json}) GROUP BY 1) v
      WHERE api_keys.id = v.id AND (last_used_at IS NULL OR last_used_at <= v.at - ${LAST_USED_STEP_MS})`,
  );
}

/** Deletes up to `limit` keys that have expired at `now`. Returns how many. */
export const deleteExpiredKeys = (db: D1Database, now: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM api_keys WHERE id IN (
      SELECT id FROM api_keys WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${limit})`,
  );
