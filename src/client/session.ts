import { checkApiKey } from "./api-key.ts";
import { AuthenticationError, notAgentAuth } from "./errors.ts";
import { hasCredentials, type OnTokens, type Session } from "./identity.ts";
import { sendForm, type OAuthToken } from "./oauth.ts";
import { isGranted, type Permission } from "./permissions.ts";
import { send, withSignals, type Transport } from "./transport.ts";
import type {
  AgentResponse,
  RefreshTokenRequest,
  RefreshTokenResponse,
  Token,
  VerifyAgentRequest,
  VerifyAgentResponse,
} from "./wire.ts";

/** The server suspends instead of revoking for a token whose proof by key is older than 5 minutes; this leaves a margin for clocks. */
const RECENT_PROOF_SECONDS = 290;

/**
 * Whether an access token goes back to a recent proof by API key. A token that does not say so (`auth_time`) is of a server that
 * does not ask for one.
 */
export function isRecentlyProven(accessToken: string | undefined): boolean {
  try {
    const { auth_time: provenAt } = payloadOf(accessToken!) as { auth_time?: number };
    return provenAt === undefined || Date.now() / 1000 - provenAt < RECENT_PROOF_SECONDS;
  } catch {
    return true;
  }
}

/** Tokens are renewed this long before they expire, or after nine tenths of their life if that is later. */
const RENEWAL_MARGIN_MS = 60_000;

export type TokenManager = ReturnType<typeof createTokenManager>;

/** Keeps the tokens of a session valid. At most one renewal is under way at a time, and every caller shares it. */
export function createTokenManager(transport: Transport, session: Session, onTokens: OnTokens | undefined) {
  let renewing: Promise<void> | undefined;

  async function storeTokens<Answer extends { token: Token | OAuthToken }>(answer: Answer): Promise<Answer> {
    const token = answer.token as Token | OAuthToken | undefined;
    if (!token?.access_token) throw notAgentAuth(200, `${transport.baseUrl} gave no token`);
    // As Bearer, whoever steals it could use it.
    if (transport.isBound && token.token_type !== "DPoP") {
      throw notAgentAuth(200, `${transport.baseUrl} gave a token that is not bound to the client's key`);
    }
    const life = token.expires_in * 1000;
    session.accessToken = token.access_token;
    const isPair = "refresh_token" in token;
    session.refreshToken = isPair ? token.refresh_token : undefined;
    session.renewAt = Date.now() + Math.max(life * 0.9, life - RENEWAL_MARGIN_MS);
    if (isPair) await onTokens?.(token);
    return answer;
  }

  async function requestVerify(data?: Partial<VerifyAgentRequest>, signal?: AbortSignal): Promise<VerifyAgentResponse> {
    const { agent_id = session.agentId, api_key = session.apiKey } = data ?? {};
    // Another agent's session is not limited as the client's own.
    const own = agent_id === session.agentId ? session : undefined;
    const { scope = own?.scope, expires_in = own?.expiresIn } = data ?? {};
    // A copied key or the last line of a file may have white space around it.
    const apiKey = api_key?.trim();
    if (apiKey) checkApiKey(apiKey);
    return post("/agents/verify", { agent_id, api_key: apiKey, scope, expires_in }, signal);
  }

  // For a moment the server answers a repeated refresh with the same successor, so a lost response can be asked for again.
  const requestRefresh = (data?: Partial<RefreshTokenRequest>, signal?: AbortSignal): Promise<RefreshTokenResponse> =>
    post("/agents/refresh", { refresh_token: session.refreshToken, ...data }, signal);

  function post<Answer>(path: string, data: object, signal?: AbortSignal): Promise<Answer> {
    return send(transport, { method: "POST", path, data, repeatable: true, signal });
  }

  /** With a private key each token is of a new assertion, and no secret comes with it that could be stolen. */
  async function requestByAssertion(): Promise<{ token: OAuthToken }> {
    const scope = session.scope && [session.scope].flat().join(" ");
    const parameters = { grant_type: "client_credentials", scope };
    return { token: await sendForm(transport, session, "/oauth/token", parameters) };
  }

  const canRenew = (): boolean => Boolean(session.refreshToken || hasCredentials(session));

  async function renew(): Promise<void> {
    const { accessToken, refreshToken, agentId } = session;
    let answer: { token: Token | OAuthToken } | undefined;
    if (refreshToken) {
      try {
        answer = await requestRefresh();
      } catch (error) {
        if (!(error instanceof AuthenticationError)) throw error;
        // The session has ended. With its key the client opens another.
        if (session.refreshToken === refreshToken) delete session.refreshToken;
        if (!canRenew()) throw error;
      }
    }
    answer ??= await (session.assert ? requestByAssertion() : requestVerify());
    // If the client was given another identity meanwhile, these tokens are not its own any more.
    if (session.accessToken === accessToken && session.agentId === agentId) await storeTokens(answer);
  }

  /** Shares one renewal among all callers. A caller that gives up does not end it for the others. */
  function renewOnce(signal?: AbortSignal): Promise<void> {
    // Without this the renewal's own failure could go unhandled.
    signal?.throwIfAborted();
    renewing ??= renew().finally(() => {
      renewing = undefined;
    });
    const { closed } = transport;
    return withSignals([signal ?? closed, closed], () => renewing!);
  }

  /**
   * Renews the access token that the server has refused.
   *
   * @returns Another access token than the refused one; undefined if the client has no means to get one.
   * @throws {AgentAuthError} The renewal failed.
   */
  async function replace(refused: string | undefined, signal?: AbortSignal): Promise<string | undefined> {
    if (session.accessToken && session.accessToken !== refused) return session.accessToken;
    if (!canRenew()) return undefined;
    await renewOnce(signal);
    return session.accessToken;
  }

  return {
    replace,

    /** Exchanges an API key, the client's own by default, for tokens, and goes on with them and as that agent. */
    async verify(data?: Partial<VerifyAgentRequest>, signal?: AbortSignal): Promise<VerifyAgentResponse> {
      const answer = await requestVerify(data, signal);
      await storeTokens(answer);
      const isOther = answer.agent.agent_id !== session.agentId;
      const { scope, expires_in } = data ?? {};
      if (isOther || scope) session.scope = scope ?? undefined;
      if (isOther || expires_in != null) session.expiresIn = expires_in ?? undefined;
      session.agentId = answer.agent.agent_id;
      session.apiKey = data?.api_key ?? session.apiKey;
      // The client goes on with the key that it was given last.
      session.assert = undefined;
      return answer;
    },

    /** Exchanges a refresh token, the client's own by default, for the next pair, and goes on with that. */
    async refresh(data?: Partial<RefreshTokenRequest>, signal?: AbortSignal): Promise<RefreshTokenResponse> {
      return storeTokens(await requestRefresh(data, signal));
    },

    /**
     * Renews the access token first if it is due.
     *
     * @returns The access token; undefined if the client has none and no means to get one.
     */
    async get(signal?: AbortSignal): Promise<string | undefined> {
      // No time is later than undefined.
      const isDue = !session.accessToken || Date.now() >= session.renewAt!;
      if (isDue && canRenew()) await renewOnce(signal);
      return session.accessToken;
    },

    /**
     * Renews an access token that lacks a permission, if the agent holds the permission by now: it was added after the token
     * was issued. Asks the server for the agent first, so that a denial that is still right costs one read and no new tokens.
     *
     * @returns The new access token; undefined if a new token would lack the permission too.
     */
    async replaceIfGranted(
      denied: string | undefined,
      required: string | undefined,
      signal?: AbortSignal,
    ): Promise<string | undefined> {
      const { sub, scope } = claimsOf(denied);
      if (!sub || !required || !canRenew() || isGranted(scope, required as Permission)) return undefined;
      const call = { method: "GET", path: `/agents/${sub}`, token: denied, repeatable: true, signal };
      const response = await send<AgentResponse>({ ...transport, maxRetries: 0 }, call).catch(() => undefined);
      // Without an answer the denial is what the caller has to know, unless it gave up.
      signal?.throwIfAborted();
      if (!isGranted(response?.agent.permissions ?? [], required as Permission)) return undefined;
      return replace(denied, signal);
    },

    /**
     * Renews an access token whose limits a request exceeds, unless it was issued within the last minute: the limits of a token are
     * those of the time when it was issued, and what they are now only a new token shows.
     *
     * @returns The new access token; undefined if the present one is as good.
     */
    async replaceLimited(denied: string | undefined, signal?: AbortSignal): Promise<string | undefined> {
      const { iat } = claimsOf(denied);
      const isRecent = iat !== undefined && Date.now() - iat * 1000 < LIMITS_RENEWAL_MS;
      return isRecent || !canRenew() ? undefined : replace(denied, signal);
    },
  };
}

/** A client that exceeds its limits again and again gets a new token this often at most, in milliseconds. */
const LIMITS_RENEWAL_MS = 60_000;

/**
 * What an access token claims, without any check: the server checks it. Empty for a text that is no JWT.
 *
 * @returns `scope` with the permissions that the token has with limits: of what it has, a new one has no more.
 */
function claimsOf(token: string | undefined): { sub?: string; iat?: number; scope: string[] } {
  try {
    const {
      sub,
      iat,
      scope,
      authorization_details: details,
    } = payloadOf(token!) as {
      sub: string;
      iat: number;
      scope: string;
      authorization_details?: { permission?: string }[];
    };
    const limited = (details ?? []).flatMap(({ permission }) => permission ?? []);
    return { sub: encodeURIComponent(sub), iat, scope: [...scope.split(" "), ...limited] };
  } catch {
    return { scope: [] };
  }
}

/** The payload of a JWT. @throws for a text that is none. */
const payloadOf = (token: string): unknown =>
  JSON.parse(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));
