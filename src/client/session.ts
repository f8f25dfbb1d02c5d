import { AuthenticationError, notAgentAuth } from "./errors.ts";
import { send, within, type Transport } from "./transport.ts";
import type {
  RefreshTokenRequest,
  RefreshTokenResponse,
  Token,
  VerifyAgentRequest,
  VerifyAgentResponse,
} from "./wire.ts";

/** What a client may hold. Times are milliseconds by this machine's clock, so that no two clocks are compared. */
export interface Session {
  agentId?: string | undefined;
  apiKey?: string | undefined;
  accessToken?: string | undefined;
  refreshToken?: string | undefined;
  /** When to renew; undefined where nobody knows: then when the server refuses it. */
  renewAt?: number | undefined;
}

/** Tokens are renewed so long before they expire, or after nine tenths of a shorter life. */
const MARGIN_MS = 60_000;

export type OnTokens = (token: Token) => void | Promise<void>;

/** Keeps a session's tokens good: one renewal at a time, whoever needs it. */
export function keeper(transport: Transport, session: Session, onTokens: OnTokens | undefined) {
  let renewing: Promise<void> | undefined;

  async function kept<Answer extends { token: Token }>(answer: Answer): Promise<Answer> {
    const token = answer.token as Token | undefined;
    if (!token?.access_token) throw notAgentAuth(200, `${transport.baseUrl} gave no token`);
    const life = token.expires_in * 1000;
    session.accessToken = token.access_token;
    session.refreshToken = token.refresh_token;
    session.renewAt = Date.now() + Math.max(life * 0.9, life - MARGIN_MS);
    await onTokens?.(token);
    return answer;
  }

  type Data<Request> = Partial<Request> | undefined;
  const verified = (data?: Data<VerifyAgentRequest>, signal?: AbortSignal): Promise<VerifyAgentResponse> =>
    ask("verify", { agent_id: session.agentId, api_key: session.apiKey, ...data }, signal);
  // The server gives the same successor again for a moment: a lost answer may be asked for anew.
  const refreshed = (data?: Data<RefreshTokenRequest>, signal?: AbortSignal): Promise<RefreshTokenResponse> =>
    ask("refresh", { refresh_token: session.refreshToken, ...data }, signal);

  function ask<Answer>(what: string, data: object, signal?: AbortSignal): Promise<Answer> {
    return send(transport, { method: "POST", path: `/agents/${what}`, data, repeatable: true, signal });
  }

  const canRenew = (): string | undefined => session.refreshToken || (session.agentId && session.apiKey);

  async function renew(): Promise<void> {
    const { accessToken, refreshToken, agentId } = session;
    let answer: RefreshTokenResponse | undefined;
    if (refreshToken) {
      try {
        answer = await refreshed();
      } catch (error) {
        if (!(error instanceof AuthenticationError)) throw error;
        // The session has ended. Who has the key begins another.
        if (session.refreshToken === refreshToken) delete session.refreshToken;
        if (!canRenew()) throw error;
      }
    }
    answer ??= await verified();
    // Whoever has given the client another identity meanwhile does not get the former one back.
    if (session.accessToken === accessToken && session.agentId === agentId) await kept(answer);
  }

  /** One renewal, however many wait for it; a caller that gives up does not end it for the others. */
  function renewOnce(signal?: AbortSignal): Promise<void> {
    // Else a renewal that fails would fail unheard.
    signal?.throwIfAborted();
    renewing ??= renew().finally(() => {
      renewing = undefined;
    });
    const { closed } = transport;
    return within([signal ?? closed, closed], () => renewing!);
  }

  return {
    async verify(data: Data<VerifyAgentRequest>, signal?: AbortSignal): Promise<VerifyAgentResponse> {
      const answer = await verified(data, signal);
      await kept(answer);
      session.agentId = answer.agent.agent_id;
      session.apiKey = data?.api_key ?? session.apiKey;
      return answer;
    },
    async refresh(data: Data<RefreshTokenRequest>, signal?: AbortSignal): Promise<RefreshTokenResponse> {
      return kept(await refreshed(data, signal));
    },
    /** An access token that is good as far as one can tell; undefined for a client without any means. */
    async token(signal?: AbortSignal): Promise<string | undefined> {
      // Nothing is later than undefined.
      const isDue = !session.accessToken || Date.now() >= session.renewAt!;
      if (isDue && canRenew()) await renewOnce(signal);
      return session.accessToken;
    },
    /** Another token than the one that was refused; undefined where there is none to be had. */
    async after(refused: string | undefined, signal?: AbortSignal): Promise<string | undefined> {
      if (session.accessToken && session.accessToken !== refused) return session.accessToken;
      if (!canRenew()) return undefined;
      await renewOnce(signal);
      return session.accessToken;
    },
  };
}

export type Keeper = ReturnType<typeof keeper>;
