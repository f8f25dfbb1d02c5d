/// <reference lib="esnext.disposable" preserve="true" />
import { AuthenticationError } from "./errors.ts";
import { proxyFetch } from "./proxy.ts";
import type { Permission, Service } from "./permissions.ts";
import type { CallOptions, ClientOptions } from "./options.ts";
import { keeper, type Keeper, type Session } from "./session.ts";
import { closedError, send, type Transport } from "./transport.ts";
import type * as wire from "./wire.ts";

/**
 * A client of one AgentAuth deployment. Every method throws an {@link AgentAuthError} of the kind that fits, and the
 * signal's reason where its `signal` is aborted.
 */
export class AgentAuthClient {
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #keeper: Keeper;
  readonly #closing = new AbortController();

  /** @throws {TypeError} where `baseUrl` is missing or no http(s) URL. */
  constructor(options: ClientOptions) {
    const { baseUrl, baseURL, agentId, apiKey, accessToken, refreshToken, maxRetries = 3, timeout = 10_000 } = options;
    this.#session = { agentId, apiKey, accessToken, refreshToken };
    this.#transport = {
      baseUrl: checkedBase(baseUrl ?? baseURL),
      // Called without a receiver: browsers and Workers refuse their fetch as a method of something else.
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      maxRetries,
      timeout,
      closed: this.#closing.signal,
    };
    this.#keeper = keeper(this.#transport, this.#session, options.onTokens);
  }

  /** Registers an agent. Its API key is in the answer and never shown again. @throws {ValidationError} */
  registerAgent(body: wire.RegisterAgentRequest, options?: CallOptions): Promise<wire.RegisterAgentResponse> {
    return this.#call("POST", "/agents/register", options, body, "once");
  }

  /**
   * Exchanges an API key for tokens, which this client uses from then on; those that it was made with unless others are
   * given.
   *
   * @throws {AuthenticationError} for credentials that are wrong, and for an agent that is not active, alike.
   */
  verifyAgent(body?: Partial<wire.VerifyAgentRequest>, options?: CallOptions): Promise<wire.VerifyAgentResponse> {
    const { agentId, apiKey } = this.#session;
    return this.#keeper.verify(body?.agent_id ?? agentId, body?.api_key ?? apiKey, options?.signal);
  }

  /** Exchanges a refresh token for the next pair, which this client uses from then on. @throws {AuthenticationError} */
  refreshToken(body?: Partial<wire.RefreshTokenRequest>, options?: CallOptions): Promise<wire.RefreshTokenResponse> {
    return this.#keeper.refresh(body?.refresh_token ?? this.#session.refreshToken, options?.signal);
  }

  /** Ends every token of the calling agent, this client's included. */
  async revokeTokens(options?: CallOptions): Promise<wire.RevokeTokensResponse> {
    const answer = await this.#call<wire.RevokeTokensResponse>("POST", "/agents/revoke-tokens", options);
    this.setAccessToken();
    return answer;
  }

  /** One page of all agents, newest first; see {@link agents} for all of them. Administrators only. */
  listAgents(query?: wire.ListAgentsQuery, options?: CallOptions): Promise<wire.AgentListResponse> {
    return this.#call("GET", "/agents", options, query);
  }

  /** Every agent, newest first, page by page. Administrators only. */
  async *agents(
    query?: Omit<wire.ListAgentsQuery, "cursor" | "offset">,
    options?: CallOptions,
  ): AsyncGenerator<wire.Agent> {
    for (let cursor: string | undefined; ;) {
      const page = await this.listAgents({ limit: 100, ...query, cursor }, options);
      yield* page.agents;
      if (!page.next_cursor) return;
      cursor = page.next_cursor;
    }
  }

  getAgent(agentId: string, options?: CallOptions): Promise<wire.AgentResponse> {
    return this.#call("GET", agentPath(agentId), options);
  }

  /** Revokes an agent for good. */
  revokeAgent(agentId: string, options?: CallOptions): Promise<wire.AgentChangeResponse> {
    return this.#call("POST", agentPath(agentId, "/revoke"), options);
  }

  /** Administrators only. */
  deleteAgent(agentId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#call("DELETE", agentPath(agentId), options);
  }

  /** Administrators only. @throws {ConflictError} `agent_revoked`: that is final. */
  updateAgentStatus(
    agentId: string,
    status: wire.AgentStatus,
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#call("PUT", agentPath(agentId, "/status"), options, { status });
  }

  /** Administrators only. */
  updateAgentTier(
    agentId: string,
    tier: wire.Tier | { tier: wire.Tier },
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    const body = typeof tier === "string" ? { tier } : tier;
    return this.#call("PUT", agentPath(agentId, "/tier"), options, body);
  }

  /** Administrators only. What is taken away is out of reach at once, what is added comes with the next token. */
  updateAgentPermissions(
    agentId: string,
    permissions: Permission[],
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#call("PUT", agentPath(agentId, "/permissions"), options, { permissions });
  }

  /** Gives an agent a fresh API key; the former stays good for `overlap_seconds` (3600). */
  rotateAgentKey(
    agentId: string,
    body: { overlap_seconds?: number } = {},
    options?: CallOptions,
  ): Promise<wire.RotateKeyResponse> {
    return this.#call("POST", agentPath(agentId, "/rotate-key"), options, body, "once");
  }

  /** One page of what an agent did, newest first; see {@link activity} for all of it. */
  getActivity(agentId: string, query?: wire.ActivityQuery, options?: CallOptions): Promise<wire.ActivityResponse> {
    return this.#call("GET", agentPath(agentId, "/activity"), options, query);
  }

  /** One page of what all agents did. Administrators only. */
  getAllActivity(query?: wire.AllActivityQuery, options?: CallOptions): Promise<wire.AllActivityResponse> {
    return this.#call("GET", "/activity", options, query);
  }

  /** Everything that an agent did, newest first, page by page. What comes in meanwhile shifts no row. */
  async *activity(agentId: string, options?: CallOptions): AsyncGenerator<wire.Activity> {
    for (let before: string | undefined; ;) {
      const { activity, pagination } = await this.getActivity(agentId, { limit: 100, before }, options);
      yield* activity;
      before = activity.at(-1)?.id;
      if (!pagination.has_more || before === undefined) return;
    }
  }

  /** Has events delivered to a URL. The signing secret is in the answer and never shown again. */
  registerWebhook(body: wire.RegisterWebhookRequest, options?: CallOptions): Promise<wire.NewWebhookResponse> {
    return this.#call("POST", "/webhooks", options, body, "once");
  }

  listWebhooks(options?: CallOptions): Promise<wire.WebhookListResponse> {
    return this.#call("GET", "/webhooks", options);
  }

  getWebhook(webhookId: string, options?: CallOptions): Promise<wire.WebhookResponse> {
    return this.#call("GET", webhookPath(webhookId), options);
  }

  updateWebhook(
    webhookId: string,
    body: wire.UpdateWebhookRequest,
    options?: CallOptions,
  ): Promise<wire.WebhookResponse> {
    return this.#call("PUT", webhookPath(webhookId), options, body);
  }

  deleteWebhook(webhookId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#call("DELETE", webhookPath(webhookId), options);
  }

  /** Deliveries are signed with both secrets for `overlap_seconds` (0). */
  regenerateWebhookSecret(
    webhookId: string,
    body: { overlap_seconds?: number } = {},
    options?: CallOptions,
  ): Promise<wire.NewWebhookResponse> {
    return this.#call("POST", webhookPath(webhookId, "/regenerate-secret"), options, body, "once");
  }

  listDeliveries(
    webhookId: string,
    query?: wire.DeliveriesQuery,
    options?: CallOptions,
  ): Promise<wire.DeliveryListResponse> {
    return this.#call("GET", webhookPath(webhookId, "/deliveries"), options, query);
  }

  /** @throws {ConflictError} `delivery_pending`: it is still under way. */
  redeliver(webhookId: string, deliveryId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    const rest = `/deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
    return this.#call("POST", webhookPath(webhookId, rest), options, undefined, "once");
  }

  testWebhook(webhookId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    return this.#call("POST", webhookPath(webhookId, "/test"), options, undefined, "once");
  }

  getWebhookEvents(options?: CallOptions): Promise<wire.WebhookEventsResponse> {
    return this.#call("GET", "/webhooks/events", options, undefined, "open");
  }

  listPermissions(options?: CallOptions): Promise<wire.PermissionListResponse> {
    return this.#call("GET", "/permissions/list", options, undefined, "open");
  }

  /** `unhealthy` where the service is there, and its database does not answer. */
  healthCheck(options?: CallOptions): Promise<wire.HealthResponse> {
    return this.#call("GET", "/health", options, undefined, "open");
  }

  /** What the gateway would do with a request, and why, without doing it. Administrators only. */
  explain(body: wire.ExplainRequest, options?: CallOptions): Promise<wire.ExplainResponse> {
    return this.#call("POST", "/proxy/_explain", options, body);
  }

  /**
   * A `fetch` that calls one service through the gateway, with this client's token:
   * `new Octokit({ request: { fetch: client.proxy("github") } })`.
   */
  proxy(service: Service): typeof fetch {
    return proxyFetch(service, { ...this.#transport, keeper: this.#keeper });
  }

  /** Uses this access token until it is refused, and then the refresh token where one is given; none forgets both. */
  setAccessToken(accessToken?: string, refreshToken?: string): void {
    Object.assign(this.#session, { accessToken, refreshToken, renewAt: undefined });
  }

  setApiKey(apiKey: string, agentId = this.#session.agentId): void {
    Object.assign(this.#session, { apiKey, agentId });
  }

  /** Ends what is under way and forgets every token and key. */
  close(): Promise<void> {
    this.#closing.abort(closedError());
    for (const name of Object.keys(this.#session) as (keyof Session)[]) delete this.#session[name];
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * @param data the query of a GET, the body of any other.
   * @param how `open`: without a token. `once`: not sent again where nobody knows what became of it.
   */
  async #call<Answer>(
    method: string,
    path: string,
    options?: CallOptions,
    data?: object,
    how?: "open" | "once",
  ): Promise<Answer> {
    const signal = options?.signal;
    const sent = (token?: string): Promise<Answer> =>
      send(this.#transport, { method, path, data, token, signal, repeatable: how !== "once" });
    if (how === "open") return sent();
    const token = await this.#keeper.token(signal);
    try {
      return await sent(token);
    } catch (error) {
      const fresh = error instanceof AuthenticationError && (await this.#keeper.after(token, signal));
      if (fresh) return sent(fresh);
      throw error;
    }
  }
}

const agentPath = (id: string, rest = ""): string => `/agents/${encodeURIComponent(id)}${rest}`;
const webhookPath = (id: string, rest = ""): string => `/webhooks/${encodeURIComponent(id)}${rest}`;

function checkedBase(text: string | undefined): string {
  if (!text || !URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new TypeError(`baseUrl must be an http(s) URL, for example https://agentauth.example.com; it is ${text}.`);
  }
  return text.replace(/\/+$/, "");
}
