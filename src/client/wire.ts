import type { Permission } from "./permissions.ts";

/** ISO 8601 in UTC, for example `2026-11-23T10:00:00.000Z`. */
export type Timestamp = string;

export type AgentStatus = "active" | "inactive" | "suspended" | "revoked";
export type Tier = "free" | "pro" | "enterprise";

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

export interface Credentials {
  /** Shown here and never again. */
  api_key: string;
  token_type: "Bearer";
}

export interface Token {
  access_token: string;
  refresh_token: string;
  token_type: "Bearer";
  /** Seconds. */
  expires_in: number;
}

export interface Activity {
  id: string;
  agent_id: string;
  timestamp: Timestamp;
  /** Empty if unknown, or if somebody else acted on the agent and the caller is no administrator. */
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
}

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
  | "agent.deleted"
  | "agent.key_rotated"
  | "token.reuse_detected"
  | "gateway.denied"
  | "webhook.disabled";

export interface Webhook {
  id: string;
  agent_id: string;
  url: string;
  events: EventName[];
  /** `***` but where it was just made. */
  secret: string;
  created_at: Timestamp;
}

export interface Delivery {
  id: string;
  webhook_id: string;
  event_id: string;
  event: string;
  agent_id: string;
  status: "pending" | "success" | "failed";
  attempts: number;
  next_attempt_at: Timestamp | null;
  response_status: number | null;
  /** The first kilobyte of what the receiver answered. */
  response_body: string | null;
  error: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface RegisterAgentRequest {
  /** 3 to 100 characters. */
  name: string;
  owner_email: string;
  /** 1 to 50. */
  permissions?: Permission[] | null | undefined;
  description?: string | null | undefined;
}

export interface VerifyAgentRequest {
  agent_id: string;
  api_key: string;
}

export interface RefreshTokenRequest {
  refresh_token: string;
}

export interface ListAgentsQuery {
  /** 1 to 100; 50 unless it is said. */
  limit?: number | undefined;
  /** At most 10,000; further back, page by `cursor`. */
  offset?: number | undefined;
  status?: AgentStatus | undefined;
  /** The beginning of a name, an owner or an id. */
  q?: string | undefined;
  /** The `next_cursor` of the page before. */
  cursor?: string | undefined;
}

export interface ActivityQuery {
  limit?: number | undefined;
  offset?: number | undefined;
  /** The id of the last row of the page before. */
  before?: string | undefined;
}

export interface AllActivityQuery extends ActivityQuery {
  agent_id?: string | undefined;
  status?: Activity["status"] | undefined;
}

export interface RegisterWebhookRequest {
  /** https; on a laptop also http://127.0.0.1. */
  url: string;
  events: EventName[];
  description?: string | null | undefined;
  /** Administrators only: hears of every agent. */
  all_agents?: boolean | undefined;
}

export interface UpdateWebhookRequest {
  url?: string | undefined;
  events?: EventName[] | undefined;
  description?: string | null | undefined;
  is_active?: boolean | undefined;
}

export interface OverlapRequest {
  /** How long the former one stays good. */
  overlap_seconds?: number | undefined;
}

export interface DeliveriesQuery {
  limit?: number | undefined;
  offset?: number | undefined;
  status?: Delivery["status"] | undefined;
}

export interface ExplainRequest {
  service: string;
  method: string;
  /** As the upstream would get it, below its base URL. */
  path: string;
  headers?: Record<string, string> | undefined;
  permissions?: Permission[] | undefined;
}

interface Done {
  success: true;
  message: string;
}

export interface RegisterAgentResponse extends Done {
  agent: Agent;
  credentials: Credentials;
}

export interface VerifyAgentResponse extends Done {
  agent: Agent;
  token: Token;
}

export interface RefreshTokenResponse extends Done {
  token: Token;
}

export interface RevokeTokensResponse extends Done {
  revoked_at: Timestamp;
}

export interface AgentResponse {
  success: true;
  agent: Agent;
  last_verified_at: Timestamp | null;
}

export interface AgentChangeResponse extends Done {
  agent: Agent;
}

export interface AgentListResponse extends Pagination {
  success: true;
  agents: Agent[];
  next_cursor: string | null;
}

export interface RotateKeyResponse extends Done {
  credentials: Credentials;
  previous_key_expires_at: Timestamp;
}

export type DoneResponse = Done;

export interface ActivityResponse {
  success: true;
  agent_id: string;
  activity: Activity[];
  pagination: Pagination;
}

export type AllActivityResponse = Omit<ActivityResponse, "agent_id">;

export interface NewWebhookResponse extends Done {
  webhook: Webhook;
}

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

export interface WebhookListResponse {
  success: true;
  webhooks: Webhook[];
}

export interface WebhookEventsResponse {
  events: EventName[];
}

export interface DeliveryResponse extends Done {
  delivery: Delivery;
}

export interface DeliveryListResponse {
  success: true;
  deliveries: Delivery[];
  pagination: Pagination;
}

export interface PermissionListResponse {
  /** By service: full strings. */
  permissions: Record<string, string[]>;
  format: string;
  examples: string[];
  wildcards: { admin: string; service: string; resource: string };
}

export interface HealthResponse {
  status: "healthy" | "unhealthy";
  database: "connected" | "disconnected";
  timestamp: Timestamp;
}

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
  message: string;
}

/** What a webhook's receiver gets as the body. */
export interface WebhookEvent {
  id: string;
  event: EventName | "webhook.test";
  agent_id: string;
  timestamp: Timestamp;
  data: Record<string, unknown>;
}
