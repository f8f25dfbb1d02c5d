import { AGENT_COLUMNS, toAgent, type AgentRow } from "../../agents/agent-row.ts";
import type { Agent } from "../../agents/agent.ts";
import { isAllowedAddress, mayUseKey } from "../../authority/allowed-address-row.ts";
import type { PublicJwk } from "../../agents/public-key.ts";
import { prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { holdsScope, type ScopePermission } from "../scope-row.ts";
import { actorOf } from "../../authority/actor-row.ts";
import { issuerKeyId, KEY_STANDS } from "../../authority/token-row.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import type { AssertionUse } from "../trusted-assertion.ts";
import { recordRefusal } from "./refusals.ts";
import { hashesOf, rehashKey, type HashedKey } from "./hashed-key.ts";

/** A valid public key of an agent. */
export interface RegisteredKey {
  readonly id: string;
  readonly jwk: PublicJwk;
}

/**
 * The valid public keys of an agent.
 *
 * @param kid only the one with this id; undefined for all, of which there are at most `MAX_KEYS_PER_AGENT`.
 */
export async function readPublicKeys(
  db: D1Database,
  agentId: string,
  kid: string | undefined,
): Promise<readonly RegisteredKey[]> {
  const named = kid === undefined ? sql`k.kid IS NOT NULL` : sql`k.kid = ${kid}`;
  const { results } = await prepare(
    db,
    sql`SELECT k.id, k.jwk FROM api_keys k WHERE k.agent_id = ${agentId} AND ${named} AND k.type = 'jwk' AND ${KEY_STANDS}`,
  ).all<{ id: string; jwk: string }>();
  return results.map(({ id, jwk }) => ({ id, jwk: JSON.parse(jwk) as PublicJwk }));
}

/** What a client has proved itself with. */
export type StoredProof =
  | HashedKey
  | {
      /** The key that the assertion's signature is of. */
      readonly keyId: string;
      readonly jtiHash: string;
      /** Until when the assertion would be accepted, in milliseconds. */
      readonly usedUntil: number;
    }
  /** A token of a trusted issuer, whose rule names the agent. */
  | { readonly trusted: AssertionUse };

export interface ClientQuery {
  readonly agentId: string;
  readonly proof: StoredProof;
  /** A token of a trusted issuer that the client sends beside its own proof, and that is used up with it. */
  readonly grant: AssertionUse | undefined;
  /** What the token is to have; undefined for all that the agent has. */
  readonly scope: readonly ScopePermission[] | undefined;
  readonly ipAddress: string;
  /** What is written if the proof is refused, see `recordRefusal`. */
  readonly refused: AuditEntry;
}

/** The agent of a good proof. */
export interface ProvenClient {
  readonly agent: Agent;
  /** The key, or what stands in its place for a trusted issuer. */
  readonly keyId: string;
  /** Whether the address is one of those that the agent and its key may be used from. */
  readonly isAllowed: boolean;
  /** Whether the agent has all that the token is to have. */
  readonly holdsScope: boolean;
  /** Whether the assertion was used here for the first time. It is not used up by an agent that is refused. */
  readonly isFresh: boolean;
  /** Whether the token of the trusted issuer beside it was. */
  readonly isGrantFresh: boolean;
  /** The time by the database's clock, in milliseconds. */
  readonly at: number;
}

/**
 * Reads the agent of a proof, if the key is valid, and uses assertions up: of two requests with one assertion, the second finds it
 * used. One batch, whose work is the same if the agent is unknown, the key wrong or the agent not active.
 *
 * A key whose hash is of a former pepper, or of a former version, is hashed anew. A refusal is recorded.
 *
 * @returns `hasNewRecord`: whether a refusal has a record of its own.
 */
export async function proveClient(
  db: D1Database,
  { agentId, proof, grant, scope, ipAddress, refused }: ClientQuery,
): Promise<{ client: ProvenClient | undefined; hasNewRecord: boolean }> {
  const isTrusted = "trusted" in proof;
  const credentials = isTrusted
    ? sql`agents a WHERE a.id = ${agentId}`
    : sql`agents a JOIN api_keys k ON k.agent_id = a.id
        WHERE a.id = ${agentId} AND ${isProven(proof)} AND ${KEY_STANDS}`;
  const keyId = isTrusted ? sql`${issuerKeyId(proof.trusted.signer)}` : sql`k.id`;
  const isAllowed = isTrusted ? isAllowedAddress(sql`a.allowed_ips`, ipAddress) : mayUseKey(ipAddress);
  const holds = scope ? holdsScope(scope) : sql`1`;
  // An assertion of the agent itself is used up under its id, and one of an issuer under the issuer's URL.
  const own = isTrusted ? proof.trusted : "keyHashes" in proof ? undefined : { ...proof, signer: agentId };
  const isUsed = [own, grant].reduce(
    (found, one) =>
      one
        ? sql`${found} OR EXISTS (SELECT 1 FROM used_proofs WHERE signer = ${one.signer} AND jti_hash = ${one.jtiHash})`
        : found,
    sql`0`,
  );
  const use = ({ signer, jtiHash, usedUntil }: AssertionUse): D1PreparedStatement =>
    prepare(
      db,
      sql`INSERT OR IGNORE INTO used_proofs (signer, jti_hash, expires_at)
        SELECT ${signer}, ${jtiHash}, ${usedUntil} FROM ${credentials} AND a.status = 'active' AND ${isAllowed} AND ${holds}
        RETURNING jti_hash`,
    );
  const failure = { agent_id: agentId, failed_at: new Date(refused.at).toISOString(), ip_address: ipAddress };
  const [recorded, , , used, read, usedGrant] = await db.batch<
    AgentRow & { key_id: string; is_allowed: number; holds_scope: number; at: number }
  >([
    // Before the assertion is used up: afterwards, the first request with it looks like the second.
    ...recordRefusal(db, {
      agentId,
      record: refused,
      isRefused: sql`NOT EXISTS (SELECT 1 FROM ${credentials} AND a.status = 'active' AND ${isAllowed} AND NOT (${holds} AND (${isUsed})))`,
      keyId: sql`(SELECT ${keyId} FROM ${credentials})`,
      actor: sql`(SELECT ${actorOf(sql`a`)} FROM ${credentials})`,
    }),
    insertEvent(db, newEvent("agent.verification_failed", agentId, refused.at, failure), {
      table: "audit_outbox",
      id: agentId,
      changeId: refused.id,
    }),
    "keyHashes" in proof ? rehashKey(db, agentId, proof) : use(own!),
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${keyId} AS key_id, ${isAllowed} AS is_allowed, ${holds} AS holds_scope, ${DATABASE_NOW} AS at
        FROM ${credentials}`,
    ),
    ...(grant ? [use(grant)] : []),
  ]);
  const row = read!.results[0];
  const hasNewRecord = recorded!.meta.changes > 0;
  if (!row) return { client: undefined, hasNewRecord };
  const client = {
    agent: toAgent(row),
    keyId: row.key_id,
    isAllowed: row.is_allowed === 1,
    holdsScope: row.holds_scope === 1,
    isFresh: "keyHashes" in proof || used!.results.length > 0,
    isGrantFresh: !grant || usedGrant!.results.length > 0,
    at: row.at,
  };
  return { client, hasNewRecord };
}

const isProven = (proof: Exclude<StoredProof, { trusted: AssertionUse }>): Sql =>
  "keyHashes" in proof ? sql`k.hash IN ${hashesOf(proof)}` : sql`k.id = ${proof.keyId} AND k.type = 'jwk'`;
