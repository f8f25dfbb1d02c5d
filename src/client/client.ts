/// <reference lib="esnext.disposable" preserve="true" />
import { agentPath, createCall, resolveRepeatedDelete, webhookPath, type Call } from "./calls.ts";
import { withDpop } from "./dpop.ts";
import { ConnectionError, PermissionDeniedError, type AgentAuthError } from "./errors.ts";
import { createAssert, type Session } from "./identity.ts";
import { limitParameters, sendForm, type Introspection, type OAuthToken, type TokenLimits } from "./oauth.ts";
import { createProxyFetch, type ProxyOptions } from "./proxy.ts";
import type { Permission, Service } from "./permissions.ts";
import { normaliseBaseUrl, type CallOptions, type ClientOptions } from "./options.ts";
import { createTokenManager, isRecentlyProven, type TokenManager } from "./session.ts";
import { send, type Transport } from "./transport.ts";
import type * as wire from "./wire.ts";

/** Who acts by the token that `exchange` gets, and how far it reaches. */
export interface ExchangeRequest {
  /** An access token of the agent that is acted for. The client's own by default, which it hands on. */
  subjectToken?: string | undefined;
  /** `jwt` for a `subjectToken` of a trusted issuer, for example of a job at GitHub: the client acts for the agent of its rule. */
  subjectTokenType?: "access_token" | "jwt" | undefined;
  /** An access token of the agent that acts. Without it and without `subAgent`, the client's own agent acts. */
  actorToken?: string | undefined;
  /** The name of a part of this program, which acts: it has an id of its own, and nothing else. */
  subAgent?: string | undefined;
  /** Permissions that the token is limited to. */
  scope?: readonly string[] | undefined;
  /** The URLs of the services that it is for, for example `https://agentauth.example.com/proxy/github`. */
  resource?: string | readonly string[] | undefined;
}

/** A token by which an agent acts for another one (RFC 8693 §2.2.1). It is accepted by the gateway only. */
export interface ExchangedToken {
  access_token: string;
  issued_token_type: string;
  token_type: "Bearer" | "DPoP";
  /** Seconds. */
  expires_in: number;
  scope: string;
  authorization_details?: Record<string, unknown>[];
}

const TOKEN_TYPE = "urn:ietf:params:oauth:token-type:";

/** What `revokeAgent` resolves with. If a lost response made it repeat the call, only these two properties are known. */
export interface RevokeAgentResponse extends wire.DoneResponse {
  agent: Pick<wire.Agent, "agent_id" | "status"> & Partial<wire.Agent>;
}

/**
 * A client of one AgentAuth deployment.
 *
 * Every method that calls the deployment may throw:
 * - `AuthenticationError`: the client has no valid credentials.
 * - `PermissionDeniedError`: the agent or webhook is another's, or the call is for administrators.
 * - `NotFoundError`: there is no object with this id.
 * - `ValidationError`: the request is not valid.
 * - `RateLimitError`, `ServerError` or `ConnectionError`: the call still fails after `maxRetries`.
 * - The reason of `signal`, once that is aborted.
 *
 * A method documents the other errors that it throws.
 *
 * @example
 * const client = new AgentAuthClient({ baseUrl: "https://agentauth.example.com", agentId, apiKey });
 * const response = await client.proxy("github")("/repos/octo/hello/issues/5");
 */
export class AgentAuthClient {
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #tokens: TokenManager;
  readonly #call: Call;
  readonly #closing = new AbortController();

  /** @throws {TypeError} `baseUrl` is missing or is not an http(s) URL, or `privateKey` is given with what does not go with it. */
  constructor(options: ClientOptions) {
    const {
      baseUrl,
      baseURL,
      // Browsers and Workers refuse their fetch as a method of another object, so it is called without one.
      fetch = (input, init) => globalThis.fetch(input, init),
      privateKey,
      keyId,
      issuer,
      dpop,
      onTokens,
      onRetry,
      maxRetries = 3,
      maxRetryDelay = 30_000,
      timeout = 10_000,
      ...known
    } = options;
    if (privateKey && (!known.agentId || known.apiKey || known.expiresIn)) {
      throw new TypeError("privateKey goes with agentId, and without apiKey and expiresIn.");
    }
    const transport: Transport = {
      baseUrl: normaliseBaseUrl(baseUrl ?? baseURL),
      fetch: dpop ? withDpop(fetch, dpop) : fetch,
      isBound: Boolean(dpop),
      maxRetries,
      maxRetryDelay,
      onRetry,
      timeout,
      closed: this.#closing.signal,
    };
    const assert = privateKey && createAssert(privateKey, issuer ?? transport.baseUrl, keyId);
    const session: Session = { ...known, assert };
    this.#session = session;
    this.#transport = transport;
    this.#tokens = createTokenManager(transport, session, onTokens);
    this.#call = createCall(transport, this.#tokens, session);
  }

  /**
   * Registers an agent. The response has its API key, which is never shown again.
   *
   * @throws {ValidationError} `details` names each permission that cannot be granted, and why.
   * @throws {PermissionDeniedError} The agent would get `*:*:*`, or only administrators may register agents.
   */
  registerAgent(body: wire.RegisterAgentRequest, options?: CallOptions): Promise<wire.RegisterAgentResponse> {
    return this.#create("/agents/register", options, body);
  }

  /**
   * Exchanges an API key, the client's own by default, for tokens. The client goes on as that agent. `scope` limits the tokens
   * to some of its permissions, `expires_in` their life; both also hold for the sessions that the client opens later.
   *
   * @throws {ValidationError} `invalid_scope`: the agent does not have all of `scope`, or `expires_in` is too long.
   * @throws {AuthenticationError} The credentials are wrong or the agent is not active. `malformed_api_key`: the key does not
   * have the form of an API key, which the client sees without asking the server.
   */
  verifyAgent(body?: Partial<wire.VerifyAgentRequest>, options?: CallOptions): Promise<wire.VerifyAgentResponse> {
    return this.#tokens.verify(body, options?.signal);
  }

  /**
   * Exchanges a refresh token, the client's own by default, for the next pair of tokens.
   *
   * @throws {AuthenticationError} The session has ended.
   */
  refreshToken(body?: Partial<wire.RefreshTokenRequest>, options?: CallOptions): Promise<wire.RefreshTokenResponse> {
    return this.#tokens.refresh(body, options?.signal);
  }

  /**
   * Exchanges an access token for one by which another agent acts for its agent (RFC 8693): this client's own, the agent of `actorToken`,
   * or a sub-agent. The client proves itself with its key, and its own tokens stay as they are.
   *
   * @example
   * const { access_token } = await planner.exchange({ subAgent: "reader", scope: ["github:issues:read"] });
   * const reader = new AgentAuthClient({ baseUrl, accessToken: access_token });
   * await reader.proxy("github")("/repos/octo/hello/issues/5");
   *
   * @throws {ValidationError} `invalid_request`: a token was revoked, or the actor may not act. `invalid_scope`, `invalid_target`: the
   *   token would be wider than the given one.
   * @throws {AuthenticationError} The client has no key, or another's.
   */
  async exchange(
    { subjectToken, subjectTokenType = "access_token", actorToken, subAgent, scope, resource }: ExchangeRequest,
    options?: CallOptions,
  ): Promise<ExchangedToken> {
    // A token that is lost with its response is one more that nobody has.
    return this.#oauth(
      "token",
      {
        grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token: subjectToken ?? (await this.#tokens.get(options?.signal)),
        subject_token_type: TOKEN_TYPE + subjectTokenType,
        actor_token: actorToken,
        actor_token_type: actorToken && `${TOKEN_TYPE}access_token`,
        sub_agent: subAgent,
        scope: scope?.join(" "),
        resource,
      },
      options,
    );
  }

  /**
   * Issues an access token of the client's agent that ends with its API key, and has no refresh token (RFC 6749 §4.4): to hand it to one
   * task, with no more than that needs. The client's own tokens stay as they are.
   *
   * @example
   * const where = { "path.owner": "octo", "path.repo": "hello" };
   * const { access_token } = await client.clientCredentials({
   *   authorizationDetails: [{ type: "agentauth_grant", permission: "github:issues:write", where }],
   * });
   * @throws {ValidationError} `invalid_scope`, `invalid_target`, `invalid_authorization_details`: the agent does not have all of it.
   */
  clientCredentials(limits: TokenLimits = {}, options?: CallOptions): Promise<OAuthToken> {
    return this.#oauth("token", { grant_type: "client_credentials", ...limitParameters(limits) }, options);
  }

  /**
   * Whether a token is valid now, by the database's word (RFC 7662). For administrators, and agents with
   * `agentauth:tokens:introspect`.
   */
  introspectToken(token: string, options?: CallOptions): Promise<Introspection> {
    return this.#oauth("introspect", { token }, options);
  }

  /** Ends a token of the client's agent: with its session, or without one by itself (RFC 7009). An unknown token is no error. */
  async revokeToken(token: string, options?: CallOptions): Promise<void> {
    await this.#oauth("revoke", { token }, options);
  }

  #oauth<Answer>(
    endpoint: "token" | "introspect" | "revoke",
    parameters: Parameters<typeof sendForm>[3],
    options?: CallOptions,
  ): Promise<Answer> {
    return sendForm(this.#transport, this.#session, `/oauth/${endpoint}`, parameters, options);
  }

  /** Revokes every token of the calling agent, this client's included. */
  async revokeTokens(options?: CallOptions): Promise<wire.RevokeTokensResponse> {
    const request = { method: "POST", path: "/agents/revoke-tokens" };
    const answer = await this.#call<wire.RevokeTokensResponse>(request, options);
    this.setAccessToken();
    return answer;
  }

  /** One page of all agents, newest first. `agents` iterates over all pages. Administrators only. */
  listAgents(query?: wire.ListAgentsQuery, options?: CallOptions): Promise<wire.AgentListResponse> {
    return this.#get("/agents", options, query);
  }

  /**
   * Iterates over all agents, newest first, fetching page by page. Administrators only.
   *
   * @example for await (const agent of client.agents({ status: "active" })) console.log(agent.name);
   */
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

  /** One agent: the calling agent itself, or for administrators any agent. */
  getAgent(agentId: string, options?: CallOptions): Promise<wire.AgentResponse> {
    return this.#get(agentPath(agentId), options);
  }

  /**
   * Changes the given properties of an agent: the calling agent itself, or for administrators any agent. Only they may change
   * `owner_email`, `rate_limit`, `allowed_ips` and `grantable`.
   *
   * @throws {ConflictError} `agent_revoked`.
   */
  updateAgent(
    agentId: string,
    body: wire.UpdateAgentRequest,
    options?: CallOptions,
  ): Promise<wire.UpdateAgentResponse> {
    return this.#call({ method: "PATCH", path: agentPath(agentId), data: body }, options);
  }

  /** One page of the valid keys of an agent, newest first, without what is secret. */
  listAgentKeys(agentId: string, query?: wire.ListKeysQuery, options?: CallOptions): Promise<wire.KeyListResponse> {
    return this.#get(agentPath(agentId, "/keys"), options, query);
  }

  /**
   * Gives an agent another API key, which only this response shows. The others stay as they are.
   *
   * @throws {ConflictError} `too_many_keys`, `agent_revoked`.
   */
  createAgentKey(
    agentId: string,
    body: Omit<wire.CreateKeyRequest, "jwk"> = {},
    options?: CallOptions,
  ): Promise<wire.CreateKeyResponse & Required<Pick<wire.CreateKeyResponse, "credentials">>> {
    return this.#create(agentPath(agentId, "/keys"), options, body);
  }

  /**
   * Registers a public key of an agent, which then proves itself without any secret (RFC 7523).
   *
   * @param jwk the public key (RFC 7517), with nothing private in it.
   * @throws {ConflictError} `kid_taken`, `too_many_keys`, `agent_revoked`.
   */
  addAgentPublicKey(
    agentId: string,
    jwk: NonNullable<wire.CreateKeyRequest["jwk"]>,
    body: Omit<wire.CreateKeyRequest, "jwk"> = {},
    options?: CallOptions,
  ): Promise<wire.CreateKeyResponse> {
    return this.#create(agentPath(agentId, "/keys"), options, { ...body, jwk });
  }

  /** Ends a key of an agent and the sessions that it opened. If a lost response made it repeat the call, 404 is success. */
  deleteAgentKey(agentId: string, keyId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#delete(agentPath(agentId, `/keys/${encodeURIComponent(keyId)}`), options);
  }

  /** One page of the sessions of an agent that can be refreshed, newest first. */
  listAgentSessions(
    agentId: string,
    query?: wire.ListSessionsQuery,
    options?: CallOptions,
  ): Promise<wire.SessionListResponse> {
    return this.#get(agentPath(agentId, "/sessions"), options, query);
  }

  /** Ends a session of an agent. If a lost response made it repeat the call, 404 is success. */
  endAgentSession(agentId: string, sessionId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#delete(agentPath(agentId, `/sessions/${encodeURIComponent(sessionId)}`), options);
  }

  /** Revokes every token of an agent, and leaves its keys. Administrators only. */
  revokeAgentTokens(agentId: string, options?: CallOptions): Promise<wire.RevokeTokensResponse> {
    return this.#call({ method: "POST", path: agentPath(agentId, "/revoke-tokens") }, options);
  }

  /**
   * Revokes for good the agents that a filter selects, 500 with each call. Administrators only.
   *
   * @example
   * const filter = { owner_email: "leaver@example.com" };
   * let { matched: expected } = await client.bulkRevokeAgents({ filter });
   * while (expected > 0) ({ remaining: expected } = await client.bulkRevokeAgents({ filter, dry_run: false, expected }));
   * @throws {ConflictError} `unexpected_count`: the filter selects another number of agents than `expected` by now.
   */
  bulkRevokeAgents(body: wire.BulkRevokeRequest, options?: CallOptions): Promise<wire.BulkRevokeResponse> {
    return this.#once("/agents/bulk-revoke", options, body);
  }

  /**
   * Revokes an agent for good: the calling agent itself, or for administrators any agent. Its tokens end with their next request,
   * for reads through the gateway within the deployment's `STANDING_TTL_SECONDS` (5).
   *
   * The client proves itself with its key. If it has none, and its token goes back to a proof of more than 5 minutes ago, the
   * agent is suspended instead: its tokens end as well, and `agent.status` and `message` say so.
   *
   * If the response is lost, the call is repeated; that the agent's own token is revoked by then, or that the agent is gone,
   * is success.
   */
  async revokeAgent(agentId: string, options?: CallOptions): Promise<RevokeAgentResponse> {
    const revoke = (apiKey: string | undefined): Promise<RevokeAgentResponse> => {
      const resolveRepeated = ({ status, code }: AgentAuthError): RevokeAgentResponse | undefined => {
        if (status !== 404 && code !== "token_revoked" && code !== "agent_revoked") return undefined;
        const isSuspended = code === "token_revoked" && !apiKey && !isRecentlyProven(this.#session.accessToken);
        const outcome = isSuspended ? "suspended" : "revoked";
        const message = `The agent is ${outcome}. The response to an earlier attempt of this call was lost.`;
        return { success: true, message, agent: { agent_id: agentId, status: outcome } };
      };
      const data = apiKey ? { api_key: apiKey } : undefined;
      return this.#call({ method: "POST", path: agentPath(agentId, "/revoke"), data, resolveRepeated }, options);
    };
    const { apiKey, assert, accessToken } = this.#session;
    // A new token is the proof of a private key.
    if (assert && !isRecentlyProven(accessToken)) await this.#tokens.replace(accessToken, options?.signal);
    try {
      return await revoke(apiKey);
    } catch (error) {
      // The key was replaced elsewhere. The token can still stop the agent.
      const isRefused = error instanceof PermissionDeniedError && error.code === "reauthentication_required";
      if (!apiKey || !isRefused) throw error;
      return revoke(undefined);
    }
  }

  /**
   * Deletes an agent with its keys, sessions and webhooks; its activity stays. Administrators only. If the response is lost,
   * the call is repeated; that the agent is gone by then is success.
   */
  deleteAgent(agentId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#delete(agentPath(agentId), options);
  }

  /**
   * Suspends an agent, or activates it again. Administrators only.
   *
   * @throws {ConflictError} `agent_revoked`: a revoked agent stays revoked.
   */
  updateAgentStatus(
    agentId: string,
    status: wire.AgentStatus,
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#put(agentPath(agentId, "/status"), { status }, options);
  }

  /** Changes the tier of an agent, and with it its rate limit. Administrators only. */
  updateAgentTier(
    agentId: string,
    tier: wire.Tier | { tier: wire.Tier },
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    const body = typeof tier === "string" ? { tier } : tier;
    return this.#put(agentPath(agentId, "/tier"), body, options);
  }

  /**
   * Replaces the permissions of an agent. Administrators only. What is taken away is denied with the next request, for reads
   * through the gateway within the deployment's `STANDING_TTL_SECONDS` (5); what is added needs a new token, which the SDK gets
   * when it is first denied. What the agent has with limits has to be in the list, and keeps its limits.
   *
   * @throws {ConflictError} `limited_grant`: the list would widen a grant with limits, or take it away. `setGrants` can.
   */
  updateAgentPermissions(
    agentId: string,
    permissions: Permission[],
    options?: CallOptions,
  ): Promise<wire.AgentChangeResponse> {
    return this.#put(agentPath(agentId, "/permissions"), { permissions }, options);
  }

  /**
   * The grants of an agent: its permissions, each with how far it reaches and until when. Administrators only.
   *
   * @example const { grants, grants_version } = await admin.getGrants(agentId);
   */
  getGrants(agentId: string, options?: CallOptions): Promise<wire.GrantListResponse> {
    return this.#get(agentPath(agentId, "/grants"), options);
  }

  /**
   * Replaces the grants of an agent. Administrators only. What is taken away or narrowed is denied with the next request, for reads
   * through the gateway within the deployment's `STANDING_TTL_SECONDS` (5); what is added needs a new token.
   *
   * @param grants as `getGrants` returns them, or new ones. A grant that does not change keeps its id.
   * @param version `grants_version` of what was read: if the grants have changed since, nothing is changed.
   * @throws {ValidationError} `unknown_constraint_field`, `unknown_constraint_operator`, `invalid_constraint`: the message says what may
   *   be written.
   * @throws {ConflictError} `grants_changed`: read them again.
   *
   * @example
   * const friday = "2026-12-04T18:00:00Z";
   * await admin.setGrants(agentId, [
   *   { permission: "github:issues:write", where: { "path.owner": "octo", "path.repo": "hello" }, expires_at: friday },
   * ]);
   */
  setGrants(
    agentId: string,
    grants: readonly (wire.SetGrantsRequest["grants"][number] | wire.Grant)[],
    version?: number,
    options?: CallOptions,
  ): Promise<wire.SetGrantsResponse> {
    return this.#put(agentPath(agentId, "/grants"), { grants, grants_version: version }, options);
  }

  /**
   * Gives an agent a new API key, which only this response shows. The previous key stays valid for `overlap_seconds`, 3600 by
   * default. A client that rotates the keys of its own agent goes on with the new one. `key_id` replaces one key only, and then
   * the client keeps its own: give it the new one with `setApiKey` if that was the one.
   *
   * The client proves itself with its API key, if it has one.
   *
   * @throws {PermissionDeniedError} `reauthentication_required`: the client has no key, and its token goes back to a proof of more
   *   than 5 minutes ago.
   * @throws {ConflictError} `agent_revoked`: a revoked agent gets no keys.
   */
  async rotateAgentKey(
    agentId: string,
    body: wire.RotateKeyRequest = {},
    options?: CallOptions,
  ): Promise<wire.RotateKeyResponse> {
    const path = agentPath(agentId, "/rotate-key");
    const { apiKey: api_key } = this.#session;
    const proven = api_key ? { api_key, ...body } : body;
    const answer = await this.#create<wire.RotateKeyResponse>(path, options, proven);
    if (agentId === this.#session.agentId && !body.key_id) this.setApiKey(answer.credentials.api_key);
    return answer;
  }

  /** One page of an agent's activity, newest first. `activity` iterates over all pages. */
  getActivity(agentId: string, query?: wire.ActivityQuery, options?: CallOptions): Promise<wire.ActivityResponse> {
    return this.#get(agentPath(agentId, "/activity"), options, query);
  }

  /** One page of the activity of all agents, newest first. Administrators only. */
  getAllActivity(query?: wire.AllActivityQuery, options?: CallOptions): Promise<wire.AllActivityResponse> {
    return this.#get("/activity", options, query);
  }

  /**
   * Iterates over an agent's whole activity, newest first, fetching page by page. Rows that are added meanwhile shift nothing.
   *
   * @example for await (const { timestamp, message } of client.activity(agentId)) console.log(timestamp, message);
   */
  async *activity(agentId: string, options?: CallOptions): AsyncGenerator<wire.Activity> {
    let before: string | undefined;
    do {
      const { activity, pagination } = await this.getActivity(agentId, { limit: 100, before }, options);
      yield* activity;
      before = pagination.has_more ? activity.at(-1)?.id : undefined;
    } while (before);
  }

  /**
   * One page of the audit log, newest first: for administrators all of it, for an agent what is about itself. A page may be short, even
   * empty, and have a next one. `audit` iterates over all pages.
   */
  getAudit(query?: wire.AuditQuery, options?: CallOptions): Promise<wire.AuditResponse> {
    return this.#get("/audit", options, query);
  }

  /** One record of the audit log. */
  getAuditRecord(recordId: string, options?: CallOptions): Promise<wire.AuditRecordResponse> {
    return this.#get(`/audit/${encodeURIComponent(recordId)}`, options);
  }

  /**
   * Iterates over the records of the audit log that a query selects, newest first, fetching page by page. `q`, `ip` and `path` need
   * `agent_id`, or `from` and `to` at most 24 hours apart.
   *
   * @example for await (const { at, action, actor } of client.audit({ agent_id: id })) console.log(at, action, actor?.name);
   */
  async *audit(query?: Omit<wire.AuditQuery, "cursor">, options?: CallOptions): AsyncGenerator<wire.AuditRecord> {
    let cursor: string | undefined;
    do {
      const page = await this.getAudit({ limit: 200, ...query, cursor }, options);
      yield* page.records;
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
  }

  /**
   * Registers a webhook: events are delivered to its https URL. Only this response shows its secret.
   *
   * @throws {ConflictError} `too_many_webhooks`.
   */
  registerWebhook(body: wire.RegisterWebhookRequest, options?: CallOptions): Promise<wire.NewWebhookResponse> {
    return this.#create("/webhooks", options, body);
  }

  /** The webhooks of the calling agent, without their secrets. `details` says whether each is active. */
  listWebhooks(options?: CallOptions): Promise<wire.WebhookListResponse> {
    return this.#get("/webhooks", options);
  }

  /** One page of the webhooks of all agents, or of `agent_id`, oldest first, as `listWebhooks`. Administrators only. */
  listAllWebhooks(query?: wire.ListWebhooksQuery, options?: CallOptions): Promise<wire.WebhookListResponse> {
    return this.#get("/webhooks", options, { agent_id: "*", ...query });
  }

  /** One webhook, and whether it is active. */
  getWebhook(webhookId: string, options?: CallOptions): Promise<wire.WebhookResponse> {
    return this.#get(webhookPath(webhookId), options);
  }

  /** Changes the given properties of a webhook. `is_active: true` enables one that was disabled. */
  updateWebhook(
    webhookId: string,
    body: wire.UpdateWebhookRequest,
    options?: CallOptions,
  ): Promise<wire.WebhookResponse> {
    return this.#put(webhookPath(webhookId), body, options);
  }

  /**
   * Deletes a webhook with its deliveries. If the response is lost, the call is repeated; that the webhook is gone by then is
   * success.
   */
  deleteWebhook(webhookId: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#delete(webhookPath(webhookId), options);
  }

  /**
   * Gives a webhook a new secret, which only this response shows. The former one signs deliveries too for `overlap_seconds`; 0, the
   * default, ends every former secret at once.
   */
  regenerateWebhookSecret(
    webhookId: string,
    body: wire.RegenerateSecretRequest = {},
    options?: CallOptions,
  ): Promise<wire.NewWebhookResponse> {
    return this.#create(webhookPath(webhookId, "/regenerate-secret"), options, body);
  }

  /** One page of a webhook's deliveries, newest first. */
  listDeliveries(
    webhookId: string,
    query?: wire.DeliveriesQuery,
    options?: CallOptions,
  ): Promise<wire.DeliveryListResponse> {
    return this.#get(webhookPath(webhookId, "/deliveries"), options, query);
  }

  /** One delivery: what is sent, and what came of its last ten attempts, the oldest first. */
  getDelivery(webhookId: string, deliveryId: string, options?: CallOptions): Promise<wire.DeliveryHistoryResponse> {
    return this.#get(webhookPath(webhookId, `/deliveries/${encodeURIComponent(deliveryId)}`), options);
  }

  /**
   * One page of the deliveries of all webhooks, newest first. Administrators only. A page searches a limited number of them, so it
   * may be short and still have a `next_cursor`; `deliveries` iterates over all pages.
   */
  listAllDeliveries(query?: wire.AllDeliveriesQuery, options?: CallOptions): Promise<wire.AllDeliveriesResponse> {
    return this.#get("/deliveries", options, query);
  }

  /**
   * Iterates over the deliveries of all webhooks, newest first, fetching page by page. Administrators only.
   *
   * @example for await (const { id, error } of client.deliveries({ status: "failed" })) console.log(id, error);
   */
  async *deliveries(
    query?: Omit<wire.AllDeliveriesQuery, "cursor">,
    options?: CallOptions,
  ): AsyncGenerator<wire.Delivery> {
    let cursor: string | undefined;
    do {
      const page = await this.listAllDeliveries({ limit: 200, ...query, cursor }, options);
      yield* page.deliveries;
      cursor = page.next_cursor ?? undefined;
    } while (cursor);
  }

  /**
   * Starts many deliveries again, under their own ids, or with `dry_run`, the default, only counts them. Administrators only. A call
   * starts 500 at most: repeat it until `remaining` is 0, and then go on with `next_cursor` as `cursor` until that is null.
   */
  redeliverAll(body: wire.RedeliverAllRequest, options?: CallOptions): Promise<wire.RedeliverAllResponse> {
    return this.#once("/deliveries/redeliver", options, body);
  }

  /**
   * Starts a delivery again, under the same id.
   *
   * @throws {ConflictError} `delivery_pending`: an attempt is under way or due. `webhook_inactive`: the webhook is disabled.
   */
  redeliver(webhookId: string, deliveryId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    const rest = `/deliveries/${encodeURIComponent(deliveryId)}/redeliver`;
    return this.#once(webhookPath(webhookId, rest), options);
  }

  /**
   * Sends a `webhook.test` event to a webhook.
   *
   * @throws {ConflictError} `webhook_inactive`: the webhook is disabled.
   */
  testWebhook(webhookId: string, options?: CallOptions): Promise<wire.DeliveryResponse> {
    return this.#once(webhookPath(webhookId, "/test"), options);
  }

  /** The names of the events that a webhook can be registered for. Needs no credentials. */
  getWebhookEvents(options?: CallOptions): Promise<wire.WebhookEventsResponse> {
    return this.#open("/webhooks/events", options);
  }

  /** The permissions that this deployment can grant. Needs no credentials. */
  listPermissions(options?: CallOptions): Promise<wire.PermissionListResponse> {
    return this.#open("/permissions/list", options);
  }

  /** Whether the deployment and its database answer. `unhealthy` is a result, not an error. Needs no credentials. */
  healthCheck(options?: CallOptions): Promise<wire.HealthResponse> {
    return this.#open("/health", options);
  }

  /** Each part of the deployment: what lags, what is missing, and what to do. Administrators only. */
  healthDetails(options?: CallOptions): Promise<wire.HealthDetailsResponse> {
    return this.#get("/health/details", options);
  }

  /** The settings in force, without a value of a secret. Administrators only. */
  getSettings(options?: CallOptions): Promise<wire.SettingsResponse> {
    return this.#get("/settings", options);
  }

  /** The services of the gateway: what is connected, and what can be granted. Administrators only. */
  listServices(options?: CallOptions): Promise<wire.ServiceListResponse> {
    return this.#get("/services", options);
  }

  /** One service with its rules. Administrators only. */
  getService(name: string, options?: CallOptions): Promise<wire.ServiceResponse> {
    return this.#get(`/services/${encodeURIComponent(name)}`, options);
  }

  /** Sends one small fixed request with a service's credential, to see whether it works. Administrators only. */
  checkService(name: string, options?: CallOptions): Promise<wire.ServiceCheckResponse> {
    return this.#call({ method: "POST", path: `/services/${encodeURIComponent(name)}/check` }, options);
  }

  /** How many calls through the gateway there were in each of the last hours, by outcome. Administrators only. */
  auditCounts(query?: wire.AuditCountsQuery, options?: CallOptions): Promise<wire.AuditCountsResponse> {
    return this.#get("/audit/counts", options, query);
  }

  /** Says what the gateway would do with a request, and why, without sending it. Administrators only. */
  explain(body: wire.ExplainRequest, options?: CallOptions): Promise<wire.ExplainResponse> {
    return this.#call({ method: "POST", path: "/proxy/_explain", data: body }, options);
  }

  /**
   * A `fetch` that calls one service through the gateway with the client's token, for any SDK that accepts a `fetch`. A refusal of
   * the gateway is a response, not an error.
   *
   * The function throws `ConnectionError` if AgentAuth does not respond, `AgentAuthError` with the code `redirect_refused` if a
   * redirect leads out of the service, `TypeError` if a URL does, and what the renewal of a token may throw.
   *
   * @example new Octokit({ request: { fetch: client.proxy("github") } })
   *
   * @throws {TypeError} `options.baseUrl` is not an http(s) URL.
   */
  proxy(service: Service, options: ProxyOptions = {}): typeof fetch {
    return createProxyFetch(service, options, this.#transport, this.#tokens);
  }

  /**
   * An access token, renewed first if it is due, for an SDK that accepts a base URL and a token but no fetch. Undefined if the
   * client has no token and no means to get one.
   *
   * @example new Orders({ baseURL: "https://agentauth.example.com/proxy/orders", apiKey: await client.getAccessToken() })
   */
  getAccessToken(options?: CallOptions): Promise<string | undefined> {
    return this.#tokens.get(options?.signal);
  }

  /** Replaces both tokens of the client. The access token is used until the server refuses it. Without arguments, forgets both. */
  setAccessToken(accessToken?: string, refreshToken?: string): void {
    Object.assign(this.#session, { accessToken, refreshToken, renewAt: undefined });
  }

  /** Replaces the API key of the client, or its private key by one. If it is another agent's, the client forgets its tokens. */
  setApiKey(apiKey: string, agentId = this.#session.agentId): void {
    if (agentId !== this.#session.agentId) this.setAccessToken();
    Object.assign(this.#session, { apiKey, agentId, assert: undefined });
  }

  /** Ends every call in flight and forgets the tokens and the key. Later calls throw `ConnectionError` with the code `closed`. */
  async close(): Promise<void> {
    const message = "The client is closed. Create another.";
    this.#closing.abort(new ConnectionError({ status: 0, code: "closed", message }));
    this.setAccessToken();
    this.setApiKey("", "");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #get<Answer>(path: string, options?: CallOptions, query?: object): Promise<Answer> {
    return this.#call({ method: "GET", path, data: query }, options);
  }

  #put<Answer>(path: string, body: object, options?: CallOptions): Promise<Answer> {
    return this.#call({ method: "PUT", path, data: body }, options);
  }

  #delete(path: string, options?: CallOptions): Promise<wire.DoneResponse> {
    return this.#call({ method: "DELETE", path, resolveRepeated: resolveRepeatedDelete }, options);
  }

  /** Calls an endpoint that needs no token. */
  #open<Answer>(path: string, options?: CallOptions): Promise<Answer> {
    return send(this.#transport, { method: "GET", path, repeatable: true, signal: options?.signal });
  }

  /** Sends a POST that must not be executed twice, so it is not repeated while the outcome of an attempt is unknown. */
  #once<Answer>(path: string, options?: CallOptions, body?: object): Promise<Answer> {
    return this.#call({ method: "POST", path, data: body, repeatable: false }, options);
  }

  /** Sends a POST that creates something, with an `Idempotency-Key`: repeated after a lost response, it gets that response. */
  #create<Answer>(path: string, options?: CallOptions, body?: object): Promise<Answer> {
    return this.#call({ method: "POST", path, data: body, idempotent: true }, options);
  }
}
