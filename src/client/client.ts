/// <reference lib="esnext.disposable" preserve="true" />
import { agentPath, callerOf, webhookPath, type Call } from "./calls.ts";
import { ConnectionError } from "./errors.ts";
import { proxyFetch } from "./proxy.ts";
import type { Permission, Service } from "./permissions.ts";
import { checkedBase, type CallOptions, type ClientOptions } from "./options.ts";
import { keeper, type Keeper, type Session } from "./session.ts";
import { send, type Transport } from "./transport.ts";
import type * as wire from "./wire.ts";

/**
 * A client of one AgentAuth deployment.
 *
 * Every method that calls it may throw: `AuthenticationError` without good credentials, `PermissionDeniedError` for
 * another's agent or webhook and for what only administrators may, `NotFoundError` for an id that does not exist,
 * `ValidationError` for what is malformed, `RateLimitError`, `ServerError` and `ConnectionError`
 * after `maxRetries`, and the signal's reason where its `signal` is aborted. What a method throws besides stands there.
 */
export class AgentAuthClient {
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #keeper: Keeper;
  readonly #call: Call;
  readonly #closing = new AbortController();

  /** @throws {TypeError} where `baseUrl` is missing or not an http(s) URL. */
  constructor(options: ClientOptions) {
    const { baseUrl, baseURL, fetch, onTokens, maxRetries = 3, timeout = 10_000, ...session } = options;
    const transport: Transport = {
      baseUrl: checkedBase(baseUrl ?? baseURL),
      // Called without a receiver: browsers and Workers refuse their fetch as a method of something else.
      fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)),
      maxRetries,
      timeout,
      closed: this.#closing.signal,
    };
    this.#session = session;
    this.#transport = transport;
    this.#keeper = keeper(transport, session, onTokens);
    this.#call = callerOf(transport, this.#keeper);
  }

  /**
   * Registers an agent. Its API key is in the answer and never shown again.
   *
   * @throws {ValidationError} `details` names each permission that cannot be granted, and why.
   * @throws {PermissionDeniedError} for `*:*:*`, and wherever registration is for administrators.
   */
  registerAgent(body: wire.RegisterAgentRequest, options?: CallOptions): Promise<wire.RegisterAgentResponse> {
    return this.#once("/agents/register", options, body);
  }

  /** Exchanges an API key, the client's own or another, for tokens to go on with. @throws {AuthenticationError} */
  verifyAgent(body?: Partial<wire.VerifyAgentRequest>, options?: CallOptions): Promise<wire.VerifyAgentResponse> {
    return this.#keeper.verify(body, options?.signal);
  }

  /** Exchanges a refresh token, its own or another, for the next pair. @throws {AuthenticationError} The session has ended. */
  refreshToken(body?: Partial<wire.RefreshTokenRequest>, options?: CallOptions): Promise<wire.RefreshTokenResponse> {
    return this.#keeper.refresh(body, options?.signal);
  }

  /** Ends every token of the calling agent, this client's included. */
  async revokeTokens(options?: CallOptions): Promise<wire.RevokeTokensResponse> {
    const answer = await this.#call<wire.RevokeTokensResponse>("POST", "/agents/revoke-tokens", options);
    this.setAccessToken();
    return answer;
  }

  /** One page of all agents, newest first; see `agents` for all of them. Administrators only. */
  listAgents(query?: wire.ListAgentsQuery, options?: CallOptions): Promise<wire.AgentListResponse> {
    return this.#get("/agents", options, query);
  }

  /** Every agent, newest first, page by page. Administrators only. */
  async *agents(
    query?: Omit<wire.ListAgentsQuery, "cursor" | "offset">,
    options?: CallOptions,
  ): AsyncGenerator<wire.Agent> {
    let cursor: string | undefined;
    do {
      const page = await this.listAgents({ limit: 100, ...query, cursor }, options);
      yield* page.agents;
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
  }

  /** An agent: the caller itself, or any for administrators. */
  getAgent(agentId: string, options?: CallOptions): Promise<wire.AgentResponse> {
    return this.#get(agentPath(agentId), options);
  }

  /**
   * Revokes an agent for good: the caller itself, or any for administrators. Its tokens end with their next request, for reads
   * through the gateway within the deployment's `STANDING_TTL_SECONDS` (5).
   */
  revokeAgent(agentId: string, options?: CallOptions): Promise<wire.AgentChangeResponse> {
    return this.#call("POST", agentPath(agentId, "/revoke"), options);
  }

  /** Deletes an agent with its keys, sessions and webhooks; its activity stays. Administrators only. */
  deleteAgent(agentId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#call("DELETE", agentPath(agentId), options);
  }

  /** Suspends an agent, or lets it in again. Administrators only. @throws {ConflictError} `agent_revoked`: that is final. */
  updateAgentStatus(
    agentId: string,
    status: wire.AgentStatus,
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#call("PUT", agentPath(agentId, "/status"), options, { status });
  }

  /** Changes what an agent may call in a minute. Administrators only. */
  updateAgentTier(
    agentId: string,
    tier: wire.Tier | { tier: wire.Tier },
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    const body = typeof tier === "string" ? { tier } : tier;
    return this.#call("PUT", agentPath(agentId, "/tier"), options, body);
  }

  /**
   * Administrators only. What is taken away is out of reach with the next request, for reads through the gateway within the
   * deployment's `STANDING_TTL_SECONDS` (5); what is added comes with the next token.
   */
  updateAgentPermissions(
    agentId: string,
    permissions: Permission[],
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#call("PUT", agentPath(agentId, "/permissions"), options, { permissions });
  }

  /**
   * Gives an agent a fresh API key, shown in the answer alone; the former stays good for `overlap_seconds` (3600). A client that
   * rotates its own goes on with the fresh one.
   *
   * @throws {ConflictError} `agent_revoked`.
   */
  async rotateAgentKey(
    agentId: string,
    body: wire.OverlapRequest = {},
    options?: CallOptions,
  ): Promise<wire.RotateKeyResponse> {
    const path = agentPath(agentId, "/rotate-key");
    const answer = await this.#once<wire.RotateKeyResponse>(path, options, body);
    if (agentId === this.#session.agentId) this.setApiKey(answer.credentials.api_key);
    return answer;
  }

  /** One page of what an agent did, newest first; see `activity` for all of it. */
  getActivity(agentId: string, query?: wire.ActivityQuery, options?: CallOptions): Promise<wire.ActivityResponse> {
    return this.#get(agentPath(agentId, "/activity"), options, query);
  }

  /** One page of what all agents did. Administrators only. */
  getAllActivity(query?: wire.AllActivityQuery, options?: CallOptions): Promise<wire.AllActivityResponse> {
    return this.#get("/activity", options, query);
  }

  /** Everything that an agent did, newest first, page by page. What comes in meanwhile shifts no row. */
  async *activity(agentId: string, options?: CallOptions): AsyncGenerator<wire.Activity> {
    let before: string | undefined;
    do {
      const { activity, pagination } = await this.getActivity(agentId, { limit: 100, before }, options);
      yield* activity;
      before = pagination.has_more ? activity.at(-1)?.id : undefined;
    } while (before);
  }

  /** Has events delivered to an https URL. Its secret is in the answer alone. @throws {ConflictError} `too_many_webhooks`. */
  registerWebhook(body: wire.RegisterWebhookRequest, options?: CallOptions): Promise<wire.NewWebhookResponse> {
    return this.#once("/webhooks", options, body);
  }

  /** The caller's webhooks. Their secrets are not shown. */
  listWebhooks(options?: CallOptions): Promise<wire.WebhookListResponse> {
    return this.#get("/webhooks", options);
  }

  /** A webhook, and whether it is still delivered to. */
  getWebhook(webhookId: string, options?: CallOptions): Promise<wire.WebhookResponse> {
    return this.#get(webhookPath(webhookId), options);
  }

  /** Changes what is given of a webhook; `is_active: true` takes up one that was disabled. */
  updateWebhook(
    webhookId: string,
    body: wire.UpdateWebhookRequest,
    options?: CallOptions,
  ): Promise<wire.WebhookResponse> {
    return this.#call("PUT", webhookPath(webhookId), options, body);
  }

  /** Deletes a webhook with its deliveries. */
  deleteWebhook(webhookId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#call("DELETE", webhookPath(webhookId), options);
  }

  /** Gives a webhook a fresh secret, shown in the answer alone. Deliveries are signed with both for `overlap_seconds` (0). */
  regenerateWebhookSecret(
    webhookId: string,
    body: wire.OverlapRequest = {},
    options?: CallOptions,
  ): Promise<wire.NewWebhookResponse> {
    return this.#once(webhookPath(webhookId, "/regenerate-secret"), options, body);
  }

  /** One page of a webhook's deliveries, newest first. */
  listDeliveries(
    webhookId: string,
    query?: wire.DeliveriesQuery,
    options?: CallOptions,
  ): Promise<wire.DeliveryListResponse> {
    return this.#get(webhookPath(webhookId, "/deliveries"), options, query);
  }

  /** Delivers once more. @throws {ConflictError} `delivery_pending`; `webhook_inactive`. */
  redeliver(webhookId: string, deliveryId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    const rest = `/deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
    return this.#once(webhookPath(webhookId, rest), options);
  }

  /** Delivers a `webhook.test` event. @throws {ConflictError} `webhook_inactive`. */
  testWebhook(webhookId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    return this.#once(webhookPath(webhookId, "/test"), options);
  }

  /** The events that a webhook can be registered for. Needs no credentials. */
  getWebhookEvents(options?: CallOptions): Promise<wire.WebhookEventsResponse> {
    return this.#open("/webhooks/events", options);
  }

  /** The permissions that this deployment can grant. Needs no credentials. */
  listPermissions(options?: CallOptions): Promise<wire.PermissionListResponse> {
    return this.#open("/permissions/list", options);
  }

  /** Whether the service and its database answer; `unhealthy` is no error. Needs no credentials. */
  healthCheck(options?: CallOptions): Promise<wire.HealthResponse> {
    return this.#open("/health", options);
  }

  /** What the gateway would do with a request, and why, without doing it. Administrators only. */
  explain(body: wire.ExplainRequest, options?: CallOptions): Promise<wire.ExplainResponse> {
    return this.#call("POST", "/proxy/_explain", options, body);
  }

  /**
   * A `fetch` that calls one service through the gateway, with this client's token:
   * `new Octokit({ request: { fetch: client.proxy("github") } })`. What it throws is what `fetch` throws, and what getting a
   * token may: a refusal of the gateway is an answer, not an error.
   */
  proxy(service: Service): typeof fetch {
    return proxyFetch(service, this.#transport, this.#keeper);
  }

  /**
   * An access token that is good as far as one can tell, for an SDK that takes a base URL and a token but no fetch:
   * `new Some({ baseURL: "https://agentauth.example.com/proxy/some", apiKey: await client.getAccessToken() })`.
   */
  getAccessToken(options?: CallOptions): Promise<string | undefined> {
    return this.#keeper.token(options?.signal);
  }

  /** Uses this access token until it is refused, and then the refresh token where one is given; none forgets both. */
  setAccessToken(accessToken?: string, refreshToken?: string): void {
    Object.assign(this.#session, { accessToken, refreshToken, renewAt: undefined });
  }

  /** Proves itself with this key from now on. Where it is another agent's, the tokens so far are forgotten. */
  setApiKey(apiKey: string, agentId = this.#session.agentId): void {
    if (agentId !== this.#session.agentId) this.setAccessToken();
    Object.assign(this.#session, { apiKey, agentId });
  }

  /** Ends what is under way and forgets every token and key. */
  async close(): Promise<void> {
    const message = "The client is closed. Make another.";
    this.#closing.abort(new ConnectionError({ status: 0, code: "closed", message }));
    this.setAccessToken();
    this.setApiKey("", "");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #get<Answer>(path: string, options?: CallOptions, query?: object): Promise<Answer> {
    return this.#call("GET", path, options, query);
  }

  /** What needs no token. */
  #open<Answer>(path: string, options?: CallOptions): Promise<Answer> {
    return send(this.#transport, { method: "GET", path, repeatable: true, signal: options?.signal });
  }

  /** What is not sent again where nobody knows what became of it. */
  #once<Answer>(path: string, options?: CallOptions, body?: object): Promise<Answer> {
    return this.#call("POST", path, options, body, false);
  }
}
