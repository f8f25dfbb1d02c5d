// Written by `npm run wire` from public/openapi.json. Do not edit it: change the schemas of the API and run the command again.
import type { Permission } from "./permissions.ts";

/** A time as RFC 3339 has it, in UTC, for example `2026-11-23T10:00:00.000Z`. */
export type Timestamp = string;

export interface Agent {
  agent_id: string;
  name: string;
  owner_email: string;
  permissions: Permission[];
  status: AgentStatus;
  tier: Tier;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export type AgentStatus = "active" | "inactive" | "suspended" | "revoked";

export type Tier = "free" | "pro" | "enterprise";

export interface AgentDetails {
  description: string | null;
  metadata: Record<string, string>;
  /** When the agent last proved itself with its API key; null if it never has. */
  last_verified_at: Timestamp | null;
  /** Null for an agent that a stranger registered. */
  created_by: Actor | null;
  /** Who first made the agent active; null if nobody had to. */
  approved_by: Actor | null;
  /** Requests a minute; null for the tier's. */
  rate_limit: number | null;
  /** Networks; null for any address. */
  allowed_ips: string[] | null;
  /** Whether a token of the agent is good only if it is bound to a key (DPoP). */
  dpop_bound_access_tokens: boolean;
  /** The person who owns the agent; null for nobody. */
  owner_person_id: string | null;
  /** Keys that are valid. */
  key_count: number;
  /** Sessions that can still refresh. */
  session_count: number;
}

export interface Actor {
  type: "agent" | "person" | "bootstrap" | "system";
  id: string | null;
  /** The name at that time. */
  name: string | null;
}

export interface Key {
  id: string;
  type: "secret" | "jwk";
  label: string | null;
  /** The last four characters, of a public key those of its `kid`; empty for an old key until it is used. */
  hint: string;
  created_at: Timestamp;
  created_by: Actor | null;
  expires_at: Timestamp | null;
  /** When a session was last opened with it, to within a minute. */
  last_used_at: Timestamp | null;
  /** Networks; null for those of the agent. */
  allowed_ips: string[] | null;
}

export interface Session {
  id: string;
  /** The key that opened it; null for a session of a former version. */
  key_id: string | null;
  created_at: Timestamp;
  last_refreshed_at: Timestamp;
  /** When it ends unless it is refreshed. */
  expires_at: Timestamp;
  /** The address that opened it; empty if it is not known. */
  ip_address: string;
  /** The permissions that its tokens are limited to; null for those of the agent. */
  scope: string[] | null;
  /** The thumbprint of the key that its tokens are bound to (RFC 9449); null for none. */
  dpop_jkt: string | null;
  /** Nobody acts for the agent in it. */
  act: null;
}

export interface Grant {
  /** Of exactly this permission with these limits: a grant that changes has another id. */
  id: string;
  permission: Permission;
  /** The limits, by the field of the request; all of them must hold. Absent: none. */
  where?: Record<string, GrantConditions>;
  /** When it ends. Absent: it has no end. */
  expires_at?: Timestamp;
  created_by: Actor | null;
  created_at: Timestamp;
}

export interface GrantConditions {
  eq?: string | number | boolean;
  in?: (string | number | boolean)[];
  not_in?: (string | number | boolean)[];
  min?: number;
  max?: number;
  glob?: string;
}

export interface Credentials {
  /** Shown in this response and never again. */
  api_key: string;
  token_type: "Bearer";
}

export interface Token {
  access_token: string;
  refresh_token: string;
  /** `DPoP` if the request had a proof, whose key the tokens are bound to. */
  token_type: "Bearer" | "DPoP";
  /** Seconds until the access token expires. */
  expires_in: number;
}

export interface Activity {
  id: string;
  agent_id: string;
  timestamp: Timestamp;
  /** Empty if it is not known, or if somebody else acted on the agent and the caller is not an administrator. */
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
}

export interface AuditRecord {
  id: string;
  at: Timestamp;
  action: AuditAction;
  /** `denied`: refused here. `failed`: tried, without success. `unknown`: its end was never heard of. */
  outcome: AuditOutcome;
  /** The agent that it is about. */
  agent_id: string | null;
  /** Who did it, with the name of that time; null for a stranger. */
  actor: {
    type: "agent" | "person" | "bootstrap" | "system";
    id: string | null;
    name: string | null;
  } | null;
  /** The chain of delegation, the outermost actor first. */
  act: {
    sub: string;
  }[];
  /** Also null if somebody else acted on the agent and the caller is neither an administrator nor an auditor. */
  ip_address: string | null;
  request_id: string | null;
  key_id: string | null;
  session_id: string | null;
  service: string | null;
  method: string | null;
  path: string | null;
  /** The line of the rule that the request matched. */
  rule: string | null;
  /** What the request needed; several with spaces between. */
  permission: string | null;
  /** What was answered. */
  status: number | null;
  upstream_status: number | null;
  duration_ms: number | null;
  bytes_in: number | null;
  bytes_out: number | null;
  /** How many requests the record represents; null: one. */
  count: number | null;
  /** What a change replaced. */
  before: Record<string, unknown> | null;
  /** What a change set. */
  after: Record<string, unknown> | null;
  message: string | null;
}

export type AuditAction =
  | "gateway.call"
  | "request.refused"
  | "agent.registered"
  | "agent.approved"
  | "agent.status_updated"
  | "agent.tier_updated"
  | "agent.permissions_updated"
  | "agent.updated"
  | "agent.deleted"
  | "key.created"
  | "key.rotated"
  | "key.deleted"
  | "token.issued"
  | "token.refused"
  | "token.exchanged"
  | "token.refreshed"
  | "token.reuse_detected"
  | "token.revoked"
  | "session.ended"
  | "session.limit_reached"
  | "webhook.created"
  | "webhook.updated"
  | "webhook.deleted"
  | "webhook.secret_regenerated"
  | "webhook.tested"
  | "webhook.redelivered"
  | "webhook.disabled"
  | "person.created"
  | "person.updated"
  | "person.deleted"
  | "person.signed_in"
  | "person.sign_in_refused"
  | "person.session_ended"
  | "command.decided"
  | "link.created"
  | "passkey.created"
  | "passkey.deleted"
  | "login.created"
  | "login.deleted"
  | "service.checked"
  | "audit.read"
  | "audit.exported";

export type AuditOutcome = "success" | "denied" | "failed" | "unknown";

export interface Pagination {
  total: number;
  limit: number;
  offset: number;
  has_more: boolean;
}

export type EventName =
  | "agent.registered"
  | "agent.verified"
  | "agent.verification_failed"
  | "agent.revoked"
  | "agent.status_updated"
  | "agent.tier_updated"
  | "agent.permissions_updated"
  | "agent.updated"
  | "agent.deleted"
  | "agent.key_rotated"
  | "agent.key_created"
  | "agent.key_deleted"
  | "token.reuse_detected"
  | "session.limit_reached"
  | "grant.expiring"
  | "gateway.denied"
  | "webhook.disabled";

export interface Webhook {
  id: string;
  agent_id: string;
  url: string;
  events: EventName[];
  /** `***`, except in the response that has just created it. */
  secret: string;
  created_at: Timestamp;
}

export interface WebhookSummary {
  is_active: boolean;
  disabled_reason: string | null;
  description: string | null;
}

export interface Delivery {
  id: string;
  webhook_id: string;
  event_id: string;
  event: string;
  agent_id: string;
  status: DeliveryStatus;
  attempts: number;
  next_attempt_at: Timestamp | null;
  response_status: number | null;
  /** The first kilobyte of the receiver's response. */
  response_body: string | null;
  error: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface DeliveryAttempt {
  /** From 1, and from 1 again when the delivery is started again. One whose result was lost is missing. */
  number: number;
  at: Timestamp;
  /** How long the receiver took to begin its response, or the attempt to fail. */
  duration_ms: number;
  response_status: number | null;
  /** The first 256 characters of the response. */
  response_body: string | null;
  error: string | null;
}

export interface Service {
  name: string;
  /** Whether AgentAuth knows it without configuration. */
  built_in: boolean;
  /** Null if it has to be configured. */
  base_url: string | null;
  /** The scheme by which the credential is sent; never the credential. */
  credential: string;
  /** The names of the secrets that are set; never their values. */
  secrets: string[];
  /** What can be granted: the actions of each resource. */
  resources: Record<string, string[]>;
  rule_count: number;
}

export type DeliveryStatus = "pending" | "success" | "failed";

export type DeliveryEvent =
  | "agent.registered"
  | "agent.verified"
  | "agent.verification_failed"
  | "agent.revoked"
  | "agent.status_updated"
  | "agent.tier_updated"
  | "agent.permissions_updated"
  | "agent.updated"
  | "agent.deleted"
  | "agent.key_rotated"
  | "agent.key_created"
  | "agent.key_deleted"
  | "token.reuse_detected"
  | "session.limit_reached"
  | "grant.expiring"
  | "gateway.denied"
  | "webhook.disabled"
  | "webhook.test";

/** The body of `POST /agents/register`. */
export interface RegisterAgentRequest {
  /** 3 to 100 characters. */
  name: string;
  /** At most 255 characters. */
  owner_email: string;
  /** 1 to 50 entries. */
  permissions?: Permission[] | null | undefined;
  /** At most 500 characters. */
  description?: string | null | undefined;
  /** Texts by name, of at most 4 KB together. Replaces what the agent has. */
  metadata?: Record<string, string> | null | undefined;
  /**
   * Networks in CIDR notation, or addresses: requests from others are refused. Null for any address. 1 to 50 entries.
   */
  allowed_ips?: string[] | null | undefined;
  /** How many seconds the API key is valid. Null for no end. 60 to 157,680,000. */
  key_expires_in?: number | null | undefined;
}

/** The response of `POST /agents/register`. */
export interface RegisterAgentResponse {
  success: true;
  message: string;
  agent: Agent;
  credentials: Credentials;
}

/** The query of `GET /agents`. */
export interface ListAgentsQuery {
  /** 1 to 100. The default is 50. */
  limit?: number | undefined;
  /** 0 by default. Not together with `cursor`. 0 to 10,000. */
  offset?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** The beginning of a name, of an owner's address or of an id. At most 100 characters. */
  q?: string | undefined;
  status?: AgentStatus | undefined;
  tier?: Tier | undefined;
  /** The whole address, in any case. 1 to 255 characters. */
  owner_email?: string | undefined;
  /** The person whose agents they are. 1 to 64 characters. */
  owner_person_id?: string | undefined;
  /** A permission that was granted in this form; a wider one that includes it does not count. 1 to 100 characters. */
  permission?: string | undefined;
  /** Agents that have not verified themselves since this time, and were registered before it. */
  last_verified_before?: Timestamp | undefined;
}

/** The response of `GET /agents`. */
export interface AgentListResponse {
  success: true;
  agents: Agent[];
  /** The details of each agent, by its id. */
  details: Record<string, AgentDetails>;
  /** With `tier`, `owner_email`, `permission` or `last_verified_before`: of the newest 2,000. */
  total: number;
  limit: number;
  offset: number;
  has_more: boolean;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The response of `GET /agents/{id}`. */
export interface AgentResponse {
  success: true;
  agent: Agent;
  /** As in `details`. */
  last_verified_at: Timestamp | null;
  details: AgentDetails;
}

/**
 * The response of `DELETE /agents/{id}`, `DELETE /agents/{id}/keys/{key_id}`, `DELETE
 * /agents/{id}/sessions/{session_id}`, `DELETE /webhooks/{id}`.
 */
export interface DoneResponse {
  success: true;
  message: string;
}

/** The body of `PATCH /agents/{id}`. */
export interface UpdateAgentRequest {
  /** 3 to 100 characters. */
  name?: string | undefined;
  /** At most 500 characters. */
  description?: string | null | undefined;
  /** Texts by name, of at most 4 KB together. Replaces what the agent has. */
  metadata?: Record<string, string> | undefined;
  /** Administrators only. At most 255 characters. */
  owner_email?: string | undefined;
  /** Requests a minute instead of the tier's. Null for the tier's. */
  rate_limit?: 10 | 30 | 60 | 120 | 300 | 600 | 1000 | 3000 | null | undefined;
  /**
   * Networks in CIDR notation, or addresses: requests from others are refused. Null for any address. 1 to 50 entries.
   */
  allowed_ips?: string[] | null | undefined;
  /**
   * Whether a token of the agent is good only if it is bound to a key (DPoP, RFC 9449). Tokens and sessions that are
   * not bound end with it. Switching it off needs a proof by key of the last five minutes.
   */
  dpop_bound_access_tokens?: boolean | undefined;
  /**
   * The agent's `updated_at` as you have read it. If it was changed since, nothing is changed: 409 `agent_changed`.
   */
  updated_at?: Timestamp | undefined;
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
  /** The permissions that the agent's owner may grant it. Administrators only. At most 50 entries. */
  grantable?: Permission[] | undefined;
  /**
   * The person who owns the agent; null for nobody. Only a person who is an administrator sets it. 1 to 64 characters.
   */
  owner_person_id?: string | null | undefined;
}

/** The response of `PATCH /agents/{id}`. */
export interface UpdateAgentResponse {
  success: true;
  message: string;
  agent: Agent;
  details: AgentDetails;
}

/** The body of `POST /agents/{id}/revoke`. */
export type RevokeAgentRequest = {
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
} | null;

/**
 * The response of `POST /agents/{id}/revoke`, `PUT /agents/{id}/status`, `PUT /agents/{id}/tier`, `PUT
 * /agents/{id}/permissions`.
 */
export interface AgentChangeResponse {
  success: true;
  message: string;
  agent: Agent;
}

/** The body of `PUT /agents/{id}/status`. */
export interface UpdateAgentStatusRequest {
  status: AgentStatus;
  /**
   * The agent's `updated_at` as you have read it. If it was changed since, nothing is changed: 409 `agent_changed`.
   */
  updated_at?: Timestamp | undefined;
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
}

/** The body of `PUT /agents/{id}/tier`. */
export interface UpdateAgentTierRequest {
  tier: Tier;
  /**
   * The agent's `updated_at` as you have read it. If it was changed since, nothing is changed: 409 `agent_changed`.
   */
  updated_at?: Timestamp | undefined;
}

/** The body of `PUT /agents/{id}/permissions`. */
export interface UpdateAgentPermissionsRequest {
  /** At most 50 entries. */
  permissions: Permission[];
}

/** The body of `POST /agents/{id}/rotate-key`. */
export interface RotateKeyRequest {
  /** How many seconds the previous API key stays valid. 0 to 2,592,000. The default is 3,600. */
  overlap_seconds?: number | undefined;
  /** The key that is replaced. Without one, all of them are. 1 to 64 characters. */
  key_id?: string | null | undefined;
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
}

/** The response of `POST /agents/{id}/rotate-key`. */
export interface RotateKeyResponse {
  success: true;
  message: string;
  credentials: Credentials;
  previous_key_expires_at: Timestamp;
}

/** The body of `POST /agents/bulk-revoke`. */
export interface BulkRevokeRequest {
  filter: {
    status?: AgentStatus | undefined;
    tier?: Tier | undefined;
    /** The whole address, in any case. 1 to 255 characters. */
    owner_email?: string | undefined;
    /** The person whose agents they are. 1 to 64 characters. */
    owner_person_id?: string | undefined;
    /**
     * A permission that was granted in this form; a wider one that includes it does not count. 1 to 100 characters.
     */
    permission?: string | undefined;
    /** Agents that have not verified themselves since this time, and were registered before it. */
    last_verified_before?: Timestamp | undefined;
  };
  /** The default is true. */
  dry_run?: boolean | undefined;
  /** `matched` of the dry run, or `remaining` of the previous call. Another number is a 409. */
  expected?: number | undefined;
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
}

/** The response of `POST /agents/bulk-revoke`. */
export interface BulkRevokeResponse {
  success: true;
  message: string;
  /** Agents that the filter selected and that were not revoked; not the caller. */
  matched: number;
  /** How many of them this call has revoked. */
  revoked: number;
  /** How many are left: `expected` of the next call. */
  remaining: number;
}

/** The response of `GET /agents/{id}/grants`. */
export interface GrantListResponse {
  success: true;
  grants: Grant[];
  /** Changes with the grants. PUT takes it, to change only what was read. */
  grants_version: number;
}

/** The body of `PUT /agents/{id}/grants`. */
export interface SetGrantsRequest {
  /** At most 50 entries. */
  grants: ({
    /** 1 to 100 characters. */
    permission: Permission;
    /**
     * Conditions by the field of the request, as `path.owner`: a value, or an object of `eq`, `in`, `not_in`, `min`,
     * `max`, `glob`.
     */
    where?: Record<string, string | number | boolean | Record<string, string | number | boolean | (string | number | boolean)[]>> | null | undefined;
    expires_at?: Timestamp | null | undefined;
    /** Not offered yet: leave it out. */
    approval?: string | Record<string, string | number | boolean> | null | undefined;
    /** Ignored: what was read can be written back. */
    id?: string | undefined;
    /** Ignored: what was read can be written back. */
    created_by?: Actor | null | undefined;
    /** Ignored: what was read can be written back. */
    created_at?: string | undefined;
  })[];
  /** Changes with the grants. PUT takes it, to change only what was read. */
  grants_version?: number | null | undefined;
}

/** The response of `PUT /agents/{id}/grants`. */
export interface SetGrantsResponse {
  success: true;
  message: string;
  grants: Grant[];
  /** Changes with the grants. PUT takes it, to change only what was read. */
  grants_version: number;
}

/** The query of `GET /keys`. */
export interface ListEndingKeysQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** How many days from now. 1 to 366. The default is 14. */
  days?: number | undefined;
}

/** The response of `GET /keys`. */
export interface EndingKeyListResponse {
  success: true;
  /** Those of revoked agents are left out, so a page may be short. */
  keys: Key[];
  /** Whose each key is, by its id. */
  details: Record<string, {
    agent_id: string;
    agent_name: string;
  }>;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The query of `GET /agents/{id}/keys`. */
export interface ListKeysQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
}

/** The response of `GET /agents/{id}/keys`. */
export interface KeyListResponse {
  success: true;
  keys: Key[];
  /** The public keys among them, by their ids. */
  details: Record<string, {
    kid: string;
    alg: "ES256" | "EdDSA" | "RS256" | "PS256";
  }>;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The body of `POST /agents/{id}/keys`. */
export interface CreateKeyRequest {
  /** 1 to 100 characters. */
  label?: string | null | undefined;
  /** How many seconds the API key is valid. Null for no end. 60 to 157,680,000. */
  expires_in?: number | null | undefined;
  /**
   * Networks in CIDR notation, or addresses: requests from others are refused. Null for any address. 1 to 50 entries.
   */
  allowed_ips?: string[] | null | undefined;
  /**
   * A public key (RFC 7517) instead of an API key: EC P-256 (ES256), OKP Ed25519 (EdDSA), or RSA of 2048 to 4096 bits
   * with `alg` RS256 or PS256. Without a `kid` it gets its thumbprint.
   */
  jwk?: {
    /** At most 16 characters. */
    kty: string;
    /** At most 1,024 characters. */
    crv?: string | null | undefined;
    /** At most 1,024 characters. */
    x?: string | null | undefined;
    /** At most 1,024 characters. */
    y?: string | null | undefined;
    /** At most 1,024 characters. */
    n?: string | null | undefined;
    /** At most 1,024 characters. */
    e?: string | null | undefined;
    /** At most 1,024 characters. */
    alg?: string | null | undefined;
    kid?: string | null | undefined;
    /** At most 1,024 characters. */
    use?: string | null | undefined;
    /** At most 8 entries. */
    key_ops?: string[] | null | undefined;
    ext?: boolean | null | undefined;
  } | null | undefined;
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
}

/** The response of `POST /agents/{id}/keys`. */
export interface CreateKeyResponse {
  success: true;
  message: string;
  key: Key;
  /** The new API key; none for a public key. */
  credentials?: {
    /** Shown in this response and never again. */
    api_key: string;
    token_type: "Bearer";
  };
  /** The public keys among them, by their ids. */
  details?: Record<string, {
    kid: string;
    alg: "ES256" | "EdDSA" | "RS256" | "PS256";
  }>;
}

/** The body of `DELETE /agents/{id}/keys/{key_id}`. */
export type DeleteKeyRequest = {
  /**
   * The caller's own API key, instead of an access token that POST /agents/verify gave in the last 5 minutes. 1 to 256
   * characters.
   */
  api_key?: string | null | undefined;
} | null;

/** The query of `GET /agents/{id}/sessions`. */
export interface ListSessionsQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
}

/** The response of `GET /agents/{id}/sessions`. */
export interface SessionListResponse {
  success: true;
  sessions: Session[];
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The response of `POST /agents/{id}/revoke-tokens`, `POST /agents/revoke-tokens`. */
export interface RevokeTokensResponse {
  success: true;
  message: string;
  revoked_at: Timestamp;
}

/** The body of `POST /agents/verify`. */
export interface VerifyAgentRequest {
  /** 1 to 128 characters. */
  agent_id: string;
  /** 1 to 256 characters. */
  api_key: string;
  /**
   * The permissions that the token is limited to: a list, or a text with spaces between. None wider than the agent's.
   */
  scope?: string | string[] | null | undefined;
  /** Seconds that access tokens of this session live; at most `ACCESS_TOKEN_TTL_SECONDS`. */
  expires_in?: number | null | undefined;
}

/** The response of `POST /agents/verify`. */
export interface VerifyAgentResponse {
  success: true;
  message: string;
  agent: Agent;
  token: Token;
}

/** The body of `POST /agents/refresh`. */
export interface RefreshTokenRequest {
  /** 1 to 256 characters. */
  refresh_token: string;
}

/** The response of `POST /agents/refresh`. */
export interface RefreshTokenResponse {
  success: true;
  message: string;
  token: Token;
}

/** The query of `GET /agents/{id}/activity`. */
export interface ActivityQuery {
  /** 1 to 100. The default is 50. */
  limit?: number | undefined;
  /** 0 by default. Not together with `cursor`. 0 to 10,000. */
  offset?: number | undefined;
  /** The id of the last row of the previous page. */
  before?: string | undefined;
  /** The `next_cursor` of the previous page; empty for the first page. */
  cursor?: string | undefined;
}

/** The response of `GET /agents/{id}/activity`. */
export interface ActivityResponse {
  success: true;
  agent_id: string;
  activity: Activity[];
  pagination: Pagination;
  /** Only if the request has `cursor`, which may be empty. */
  next_cursor?: string | null;
}

/** The query of `GET /activity`. */
export interface AllActivityQuery {
  /** 1 to 100. The default is 50. */
  limit?: number | undefined;
  /** 0 by default. Not together with `cursor`. 0 to 10,000. */
  offset?: number | undefined;
  /** The id of the last row of the previous page. */
  before?: string | undefined;
  /** The `next_cursor` of the previous page; empty for the first page. */
  cursor?: string | undefined;
  /** 1 to 128 characters. */
  agent_id?: string | undefined;
  status?: "success" | "failure" | undefined;
}

/** The response of `GET /activity`. */
export interface AllActivityResponse {
  success: true;
  activity: Activity[];
  pagination: Pagination;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The query of `GET /audit/counts`. */
export interface AuditCountsQuery {
  /** How many hours, the present one included. 1 to 744. The default is 24. */
  hours?: number | undefined;
}

/** The response of `GET /audit/counts`. */
export interface AuditCountsResponse {
  success: true;
  /** The oldest first, each hour once. */
  hours: {
    /** When the hour began. */
    at: Timestamp;
    success: number;
    denied: number;
    failed: number;
    unknown: number;
  }[];
}

/** The query of `GET /audit/export`. */
export interface ExportAuditQuery {
  /** The default is jsonl. */
  format?: "jsonl" | "csv" | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** The agent that the record is about. 1 to 256 characters. */
  agent_id?: string | undefined;
  /** The id of who did it; `bootstrap` or `system` for those that have none. 1 to 256 characters. */
  actor?: string | undefined;
  action?: AuditAction | undefined;
  outcome?: "success" | "denied" | "failed" | "unknown" | undefined;
  /** 1 to 256 characters. */
  service?: string | undefined;
  /** 1 to 256 characters. */
  method?: string | undefined;
  /** The beginning of the path. At most 1,024 characters. */
  path?: string | undefined;
  /** One of the permissions that the request needed. 1 to 256 characters. */
  permission?: string | undefined;
  /** 1 to 256 characters. */
  key_id?: string | undefined;
  /** 1 to 256 characters. */
  session_id?: string | undefined;
  /** 1 to 256 characters. */
  request_id?: string | undefined;
  /** 1 to 256 characters. */
  ip?: string | undefined;
  /** At this time or later (RFC 3339). */
  from?: Timestamp | undefined;
  /** Before this time (RFC 3339). */
  to?: Timestamp | undefined;
  /**
   * A part of the message, the path, the actor's name, or of what a change was from or to, in any case. 1 to 256
   * characters.
   */
  q?: string | undefined;
}

/** The query of `GET /audit`. */
export interface AuditQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** The agent that the record is about. 1 to 256 characters. */
  agent_id?: string | undefined;
  /** The id of who did it; `bootstrap` or `system` for those that have none. 1 to 256 characters. */
  actor?: string | undefined;
  action?: AuditAction | undefined;
  outcome?: "success" | "denied" | "failed" | "unknown" | undefined;
  /** 1 to 256 characters. */
  service?: string | undefined;
  /** 1 to 256 characters. */
  method?: string | undefined;
  /** The beginning of the path. At most 1,024 characters. */
  path?: string | undefined;
  /** One of the permissions that the request needed. 1 to 256 characters. */
  permission?: string | undefined;
  /** 1 to 256 characters. */
  key_id?: string | undefined;
  /** 1 to 256 characters. */
  session_id?: string | undefined;
  /** 1 to 256 characters. */
  request_id?: string | undefined;
  /** 1 to 256 characters. */
  ip?: string | undefined;
  /** At this time or later (RFC 3339). */
  from?: Timestamp | undefined;
  /** Before this time (RFC 3339). */
  to?: Timestamp | undefined;
  /**
   * A part of the message, the path, the actor's name, or of what a change was from or to, in any case. 1 to 256
   * characters.
   */
  q?: string | undefined;
}

/** The response of `GET /audit`. */
export interface AuditResponse {
  success: true;
  records: AuditRecord[];
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The response of `GET /audit/{id}`. */
export interface AuditRecordResponse {
  success: true;
  record: AuditRecord;
}

/** The body of `POST /webhooks`. */
export interface RegisterWebhookRequest {
  /** An https URL; in local development also http://127.0.0.1. 1 to 2,048 characters. */
  url: string;
  /** 1 to 17 entries. */
  events: EventName[];
  /** At most 500 characters. */
  description?: string | null | undefined;
  /** Delivers the events of every agent. Administrators only. The default is false. */
  all_agents?: boolean | undefined;
}

/** The response of `POST /webhooks`, `POST /webhooks/{id}/regenerate-secret`. */
export interface NewWebhookResponse {
  success: true;
  message: string;
  webhook: Webhook;
}

/** The query of `GET /webhooks`. */
export interface ListWebhooksQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** The agent whose webhooks are listed, or `*` for all agents. The calling agent by default. */
  agent_id?: string | undefined;
}

/** The response of `GET /webhooks`. */
export interface WebhookListResponse {
  success: true;
  webhooks: Webhook[];
  /** By the id of each webhook, what is not in its object. */
  details: Record<string, WebhookSummary>;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The response of `GET /webhooks/events`. */
export interface WebhookEventsResponse {
  events: EventName[];
}

/** The response of `GET /webhooks/{id}`, `PUT /webhooks/{id}`. */
export interface WebhookResponse {
  success: true;
  webhook: Webhook;
  is_active: boolean;
  all_agents: boolean;
  description: string | null;
  disabled_at: Timestamp | null;
  disabled_reason: string | null;
  previous_secret_expires_at: Timestamp | null;
  updated_at: Timestamp;
}

/** The body of `PUT /webhooks/{id}`. */
export interface UpdateWebhookRequest {
  /** An https URL; in local development also http://127.0.0.1. 1 to 2,048 characters. */
  url?: string | undefined;
  /** 1 to 17 entries. */
  events?: EventName[] | undefined;
  /** At most 500 characters. */
  description?: string | null | undefined;
  /** False stops deliveries; true starts them again, also after failures disabled the webhook. */
  is_active?: boolean | undefined;
}

/** The body of `POST /webhooks/{id}/regenerate-secret`. */
export interface RegenerateSecretRequest {
  /**
   * How many seconds the former secret signs deliveries too. 0 ends every former secret at once. 0 to 604,800. The
   * default is 0.
   */
  overlap_seconds?: number | undefined;
}

/** The query of `GET /webhooks/{id}/deliveries`. */
export interface DeliveriesQuery {
  /** 1 to 100. The default is 50. */
  limit?: number | undefined;
  /** 0 by default. Not together with `cursor`. 0 to 10,000. */
  offset?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  status?: DeliveryStatus | undefined;
}

/** The response of `GET /webhooks/{id}/deliveries`. */
export interface DeliveryListResponse {
  success: true;
  deliveries: Delivery[];
  pagination: Pagination;
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The response of `GET /webhooks/{id}/deliveries/{delivery_id}`. */
export interface DeliveryHistoryResponse {
  success: true;
  delivery: Delivery;
  /** What each attempt sends. Null for an auditor. */
  request_body: string | null;
  attempts: DeliveryAttempt[];
}

/** The query of `GET /deliveries`. */
export interface AllDeliveriesQuery {
  /** 1 to 200. The default is 50. */
  limit?: number | undefined;
  /** The `next_cursor` of the previous page. */
  cursor?: string | undefined;
  /** The agent that the event is about. */
  agent_id?: string | undefined;
  webhook_id?: string | undefined;
  status?: DeliveryStatus | undefined;
  event?: DeliveryEvent | undefined;
  /** Made at this time or later (RFC 3339). */
  from?: Timestamp | undefined;
  /** Made before this time (RFC 3339). */
  to?: Timestamp | undefined;
}

/** The response of `GET /deliveries`. */
export interface AllDeliveriesResponse {
  success: true;
  deliveries: Delivery[];
  /** The `cursor` of the next page; null on the last one. */
  next_cursor: string | null;
}

/** The body of `POST /deliveries/redeliver`. */
export interface RedeliverAllRequest {
  /** Which deliveries: all that is given has to apply. `status` is `failed` if it is not given. */
  filter: {
    /** The agent that the event is about. */
    agent_id?: string | undefined;
    webhook_id?: string | undefined;
    status?: DeliveryStatus | undefined;
    event?: DeliveryEvent | undefined;
    /** Made at this time or later (RFC 3339). */
    from?: Timestamp | undefined;
    /** Made before this time (RFC 3339). */
    to?: Timestamp | undefined;
  };
  /** Only counts them. False starts them again. The default is true. */
  dry_run?: boolean | undefined;
  /** The `next_cursor` of the previous call. */
  cursor?: string | undefined;
}

/** The response of `POST /deliveries/redeliver`. */
export interface RedeliverAllResponse {
  success: true;
  message: string;
  /** How many of the searched deliveries could be started again. */
  matched: number;
  /** How many were started again. */
  redelivered: number;
  /** `matched` less `redelivered`. Repeat the call for them. */
  remaining: number;
  /** The `cursor` of the deliveries that were not searched; null if there are none. */
  next_cursor: string | null;
}

/** The response of `POST /webhooks/{id}/deliveries/{delivery_id}/redeliver`, `POST /webhooks/{id}/test`. */
export interface DeliveryResponse {
  success: true;
  message: string;
  delivery: Delivery;
}

/** The response of `GET /permissions/list`. */
export interface PermissionListResponse {
  /** The whole permission strings, by service. */
  permissions: Record<string, string[]>;
  format: string;
  examples: string[];
  wildcards: {
    admin: string;
    service: string;
    resource: string;
  };
}

/** The body of `POST /proxy/_explain`. */
export interface ExplainRequest {
  service: string;
  method: string;
  /** The path as the upstream would receive it, below its base URL. */
  path: string;
  headers?: Record<string, string> | null | undefined;
  /** With its Content-Type among the headers. By default none. */
  body?: string | null | undefined;
  /** What the agent would have, without limits. */
  permissions?: Permission[] | null | undefined;
  /** What it would have beside them, with limits and ends. */
  grants?: ({
    /** 1 to 100 characters. */
    permission: string;
    /**
     * Conditions by the field of the request, as `path.owner`: a value, or an object of `eq`, `in`, `not_in`, `min`,
     * `max`, `glob`.
     */
    where?: Record<string, string | number | boolean | Record<string, string | number | boolean | (string | number | boolean)[]>> | null | undefined;
    expires_at?: Timestamp | null | undefined;
    /** Not offered yet: leave it out. */
    approval?: string | Record<string, string | number | boolean> | null | undefined;
    /** Ignored: what was read can be written back. */
    id?: string | undefined;
    /** Ignored: what was read can be written back. */
    created_by?: Actor | null | undefined;
    /** Ignored: what was read can be written back. */
    created_at?: string | undefined;
  })[] | null | undefined;
  /** An agent, whose present grants count as well. */
  agent_id?: string | null | undefined;
}

/** The response of `POST /proxy/_explain`. */
export interface ExplainResponse {
  service: string;
  method: string;
  path: string | null;
  required: string | null;
  all_required: string[];
  decision: "allow" | "deny" | "refuse";
  code: string;
  dropped: string[];
  rule: string | null;
  lacking: string[];
  /** The fields that a grant may limit at this rule. */
  limitable: string[];
  /** The limits that the request has to meet: of each permission, those of one grant. */
  limits: {
    permission: string;
    any_of: Record<string, GrantConditions>[];
  }[];
  /** The limits that it does not meet. */
  violations: ({
    field: string;
    constraint: GrantConditions;
    actual: string | number | boolean | null;
  })[];
  message: string;
}

/** The response of `GET /services`. */
export interface ServiceListResponse {
  success: true;
  services: Service[];
}

/** The response of `GET /services/{name}`. */
export interface ServiceResponse {
  success: true;
  service: Service;
  rules: {
    /** The line as it is written. */
    rule: string;
    methods: string[];
    /** The permissions that a request needs, all of them. */
    required: string[];
    /** The fields that a grant may limit here. */
    limitable: string[];
  }[];
}

/** The response of `POST /services/{name}/check`. */
export interface ServiceCheckResponse {
  success: true;
  /** `works`: the upstream takes the credential. `unclear`: its answer does not say. */
  outcome: "works" | "refused" | "unclear" | "unreachable" | "not_configured";
  /** What was requested; null if nothing was sent. */
  path: string | null;
  upstream_status: number | null;
  duration_ms: number | null;
  /** What it means and what to do. */
  message: string;
}

/** The response of `GET /settings`. */
export interface SettingsResponse {
  success: true;
  /** By name. Null for a setting that is not set. */
  settings: Record<string, string | number | boolean | string[] | null>;
  /** How many keys each has; 0 for one that is not set. */
  secrets: Record<string, number>;
  /** Variables that the Worker does not read, most of them misspelt. */
  warnings: string[];
}

/** The response of `GET /health`. */
export interface HealthResponse {
  status: "healthy" | "unhealthy";
  database: "connected" | "disconnected";
  timestamp: Timestamp;
}

/** The query of `GET /health/details`. */
export interface HealthDetailsQuery {
  /** Adds `counts`, which reads up to 100,000 rows. */
  counts?: "true" | undefined;
}

/** The response of `GET /health/details`. */
export interface HealthDetailsResponse {
  success: true;
  /** The worst of the parts. */
  status: "ok" | "lagging" | "failing";
  timestamp: Timestamp;
  parts: ({
    name: string;
    /**
     * `lagging`: it is behind, and nothing is lost. `failing`: it does not do what it is there for. `off`: it is not
     * set up.
     */
    status: "ok" | "lagging" | "failing" | "off";
    /** Since when, as far as that is known. */
    since: Timestamp | null;
    /** What is the matter, and what to do. */
    message: string | null;
    numbers: Record<string, number>;
  })[];
  counts?: {
    /** Which API keys and sessions each key of SECRET_PEPPER still verifies. */
    peppers: ({
      /** Null: written by a former version. */
      id: string | null;
      configured: boolean;
      keys: number;
      sessions: number;
    })[];
    /** False: there are more than 50,000 keys or sessions. */
    peppers_complete: boolean;
    /** What a `service:resource:*` does not give because it was granted before. */
    gains: {
      agent_id: string;
      permission: string;
      lacks: string[];
    }[];
    gains_complete: boolean;
    /** Of the last 1000 failed deliveries, those that the queue gave up. */
    deliveries_given_up: number;
  };
}

/** How long the previous key or secret stays valid. */
export type OverlapRequest = RotateKeyRequest | RegenerateSecretRequest;

/** The `data` of a webhook event, by the event's name. */
export interface WebhookEventData {
  /** An agent is registered. */
  "agent.registered": {
    agent_id: string;
    name: string;
    owner_email: string;
    created_at: Timestamp;
  };
  /** An agent proves itself with its API key. */
  "agent.verified": {
    agent_id: string;
    verified_at: Timestamp;
    /** Empty if it is not known. */
    ip_address: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** Somebody fails to prove to be an agent. */
  "agent.verification_failed": {
    agent_id: string;
    failed_at: Timestamp;
    /** Empty if it is not known. */
    ip_address: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
    /** From how many addresses they came. */
    addresses?: number;
  };
  /** An agent is revoked for good. */
  "agent.revoked": {
    agent_id: string;
    revoked_at: Timestamp;
    /** The id of the agent that made the change. */
    revoked_by: string;
  };
  /** An agent's status changes, also to revoked. */
  "agent.status_updated": {
    agent_id: string;
    status: AgentStatus;
    updated_at: Timestamp;
    /** The id of the agent that made the change. */
    updated_by: string;
  };
  /** An agent's tier changes. */
  "agent.tier_updated": {
    agent_id: string;
    tier: Tier;
    updated_at: Timestamp;
    /** The id of the agent that made the change. */
    updated_by: string;
  };
  /** An agent's permissions change. */
  "agent.permissions_updated": {
    agent_id: string;
    permissions: Permission[];
    updated_at: Timestamp;
    /** The id of the agent that made the change. */
    updated_by: string;
  };
  /** An agent's name, description, metadata, owner, rate limit, allowed addresses or grantable permissions change. */
  "agent.updated": {
    agent_id: string;
    /** The fields of the request that changed the agent. */
    fields: string[];
    updated_at: Timestamp;
    /** The id of the agent that made the change. */
    updated_by: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** An agent is deleted; its webhooks receive nothing after this. */
  "agent.deleted": {
    agent_id: string;
    deleted_at: Timestamp;
    /** The id of the agent that made the change; `agentauth` for an agent that nobody approved. */
    deleted_by: string;
  };
  /** An agent's API key is replaced. */
  "agent.key_rotated": {
    agent_id: string;
    rotated_at: Timestamp;
    /** The id of the agent that made the change. */
    rotated_by: string;
    previous_key_expires_at: Timestamp;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** An agent gets an API key beside those that it has. */
  "agent.key_created": {
    agent_id: string;
    key_id: string;
    label: string | null;
    created_at: Timestamp;
    /** The id of the agent that made the change. */
    created_by: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** An API key of an agent is ended, and with it the sessions that it opened. */
  "agent.key_deleted": {
    agent_id: string;
    key_id: string;
    deleted_at: Timestamp;
    /** The id of the agent that made the change. */
    deleted_by: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** A refresh token is used a second time, and its session is revoked. */
  "token.reuse_detected": {
    agent_id: string;
    detected_at: Timestamp;
    /** Empty if it is not known. */
    ip_address: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /**
   * An agent has more sessions than `SESSIONS_PER_AGENT`: the one used least recently can no longer be refreshed; sent
   * once while this goes on.
   */
  "session.limit_reached": {
    agent_id: string;
    limit: number;
    reached_at: Timestamp;
    /** Empty if it is not known. */
    ip_address: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** A grant of an agent ends within a day. */
  "grant.expiring": {
    agent_id: string;
    grant_id: string;
    permission: Permission;
    expires_at: Timestamp;
  };
  /** The gateway refuses a request for lack of a permission, or because of the limits or the end of a grant. */
  "gateway.denied": {
    agent_id: string;
    denied_at: Timestamp;
    service: string;
    method: string;
    /** Cut after 512 characters. */
    path: string;
    /** `sha-256=:…:` of the whole path if it was cut (RFC 9530). */
    path_digest?: string;
    required: string;
    code?: "insufficient_permissions" | "constraint_violated" | "grant_expired";
    /** With `constraint_violated`, the fields whose limits are not met. */
    fields?: string[];
    /** Empty if it is not known. */
    ip_address: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** One of an agent's webhooks is disabled after failures; its other webhooks receive this. */
  "webhook.disabled": {
    agent_id: string;
    webhook_id: string;
    disabled_at: Timestamp;
    reason: string;
    /** How many events of this minute this one represents. */
    count?: number;
    /** When the first of them happened. */
    since?: Timestamp;
  };
  /** A test that was requested with POST /webhooks/{id}/test. */
  "webhook.test": {
    agent_id: string;
    webhook_id: string;
  };
}

/**
 * The body of a webhook's delivery. Its `event` tells which `data` it has:
 * `if (event.event === "agent.revoked") console.log(event.data.revoked_by);`
 */
export type WebhookEvent<Name extends keyof WebhookEventData = keyof WebhookEventData> = {
  [Each in Name]: { id: string; event: Each; agent_id: string; timestamp: Timestamp; data: WebhookEventData[Each] };
}[Name];
