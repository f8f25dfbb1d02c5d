import type { Agent, Status } from "../agents/agent.ts";
import { issuerOfKeyId } from "../authority/token-row.ts";
import type { Config } from "../config/config.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import type { AccessTokenSettings } from "./access-token.ts";
import { issueToken } from "./issue.ts";
import type { IssuedToken, RecordedRefusal } from "./records.ts";
import type { RequestedDetails } from "./requested-details.ts";
import { toScopePermissions } from "./scope-row.ts";
import type { AssertionUse } from "./trusted-assertion.ts";
import { proveClient, readPublicKeys, type RegisteredKey, type StoredProof } from "./store/clients.ts";

/**
 * An agent as an OAuth client: it proves itself with each request for a token, by its API key or by an assertion of one of its public
 * keys, and has no session.
 */

export type ClientProof = StoredProof;

export interface ClientAttempt {
  readonly agentId: string;
  readonly proof: ClientProof;
  /** A token of a trusted issuer beside it. */
  readonly grant?: AssertionUse | undefined;
  /** Permissions that the token is to be limited to; undefined for those of the agent. */
  readonly scope: readonly string[] | undefined;
  readonly ipAddress: string;
  readonly origin: RecordOrigin;
  /** Milliseconds. */
  readonly now: number;
}

export type ClientResult =
  | { readonly result: "proven"; readonly agent: Agent; readonly keyId: string; readonly at: number }
  /** An unknown agent or a wrong key, after the same work. */
  | ({ readonly result: "refused" } & RecordedRefusal)
  /** The assertion was used before. */
  | ({ readonly result: "replayed" } & RecordedRefusal)
  /** The token of the trusted issuer beside it was. */
  | ({ readonly result: "grant_replayed" } & RecordedRefusal)
  /** The key is right, and it or its agent may not be used from this address. */
  | ({ readonly result: "address_refused" } & RecordedRefusal)
  /** The key is right, and the agent is not active, after the same work. */
  | ({ readonly result: "not_active"; readonly status: Exclude<Status, "active"> } & RecordedRefusal)
  /** The agent does not have everything that the scope names. */
  | { readonly result: "exceeds_agent"; readonly agent: Agent };

/** The valid public keys of an agent, of which one may have signed its assertion. One D1 round trip. */
export const findPublicKeys = (
  db: D1Database,
  agentId: string,
  kid: string | undefined,
): Promise<readonly RegisteredKey[]> => readPublicKeys(db, agentId, kid);

/** Finds out which agent a client is, and uses its assertion up. A refused proof is recorded. One D1 round trip. */
export async function authenticateClient(
  db: D1Database,
  { agentId, proof, grant, scope, ipAddress, origin, now }: ClientAttempt,
  { catalogue }: Config,
): Promise<ClientResult> {
  const wanted = scope && toScopePermissions(scope, catalogue);
  const refused = newEntry("token.refused", now, origin, { outcome: "denied", message: "verification failed" });
  const query = { agentId, proof, grant, scope: wanted, ipAddress, refused };
  const { client, hasNewRecord } = await proveClient(db, query);
  if (!client) return { result: "refused", hasNewRecord };
  const { agent, keyId, at } = client;
  if (!client.isAllowed) return { result: "address_refused", hasNewRecord };
  if (agent.status !== "active") return { result: "not_active", status: agent.status, hasNewRecord };
  if (!client.holdsScope) return { result: "exceeds_agent", agent };
  if (!client.isFresh) return { result: "replayed", hasNewRecord };
  if (!client.isGrantFresh) return { result: "grant_replayed", hasNewRecord };
  return { result: "proven", agent, keyId, at };
}

export interface ClientToken {
  readonly client: Extract<ClientResult, { result: "proven" }>;
  readonly scope: readonly string[] | undefined;
  /** What it asks for by `authorization_details`, as `grantDetails` has found it. */
  readonly details: RequestedDetails | undefined;
  /** As for {@link issueToken}. */
  readonly resources: readonly string[] | null;
  readonly boundTo: string | null;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * Issues an access token to a client that has proved itself (RFC 6749 §4.4). It ends with the key that the proof was made with, or if that
 * was a token of a trusted issuer, once the issuer is trusted no more.
 */
export function issueToClient(
  { client: { agent, keyId, at }, scope, details, resources, boundTo, now }: ClientToken,
  settings: AccessTokenSettings,
  catalogue: Catalogue,
): Promise<IssuedToken> {
  return issueToken(
    {
      agent,
      scope: scope ?? null,
      details,
      basis: { keyId },
      version: agent.tokenVersion,
      // Whoever gets hold of a job's token for a minute makes no key with it that lasts: it is not the proof by key that this needs.
      authTime: issuerOfKeyId(keyId) === undefined ? at : null,
      resources,
      boundTo,
      tokenTtl: null,
      readAt: at,
      now,
    },
    settings,
    catalogue,
  );
}
