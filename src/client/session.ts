import { AuthenticationError } from "./errors.ts";
import { send, type Transport } from "./transport.ts";
import type { RefreshTokenResponse, Token, VerifyAgentResponse } from "./wire.ts";

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

  async function keep(token: Token): Promise<void> {
    const life = token.expires_in * 1000;
    session.accessToken = token.access_token;
    session.refreshToken = token.refresh_token;
    session.renewAt = Date.now() + Math.max(life * 0.9, life - MARGIN_MS);
    await onTokens?.(token);
  }

  async function verify(agentId?: string, apiKey?: string, signal?: AbortSignal): Promise<VerifyAgentResponse> {
    const data = { agent_id: agentId, api_key: apiKey };
    const call = { method: "POST", path: "/agents/verify", data, repeatable: true, signal };
    const answer = await send<VerifyAgentResponse>(transport, call);
    Object.assign(session, { agentId, apiKey });
    await keep(answer.token);
    return answer;
  }

  async function refresh(refreshToken?: string, signal?: AbortSignal): Promise<RefreshTokenResponse> {
    // The server gives the same successor again for a moment: a lost answer may be asked for anew.
    const data = { refresh_token: refreshToken };
    const call = { method: "POST", path: "/agents/refresh", data, repeatable: true, signal };
    const answer = await send<RefreshTokenResponse>(transport, call);
    await keep(answer.token);
    return answer;
  }

  const canRenew = (): boolean => Boolean(session.refreshToken || (session.agentId && session.apiKey));

  async function renew(): Promise<void> {
    const { refreshToken, agentId, apiKey } = session;
    if (refreshToken) {
      try {
        await refresh(refreshToken);
        return;
      } catch (error) {
        if (!(error instanceof AuthenticationError)) throw error;
        // The session has ended. Who has the key begins another.
        session.refreshToken = undefined;
        if (!agentId || !apiKey) throw error;
      }
    }
    await verify(agentId, apiKey);
  }

  /** One renewal, however many wait for it; a caller that gives up does not end it for the others. */
  function renewOnce(signal?: AbortSignal): Promise<void> {
    renewing ??= renew().finally(() => {
      renewing = undefined;
    });
    return signal ? unlessAborted(renewing, signal) : renewing;
  }

  return {
    verify,
    refresh,
    /** An access token that is good as far as one can tell; undefined for a client without any means. */
    async token(signal?: AbortSignal): Promise<string | undefined> {
      const isDue = !session.accessToken || (session.renewAt !== undefined && Date.now() >= session.renewAt);
      if (isDue && canRenew()) await renewOnce(signal);
      return session.accessToken;
    },
    /** Another token than the one that was refused; undefined where there is none to be had. */
    async after(refused: string | undefined, signal?: AbortSignal): Promise<string | undefined> {
      if (session.accessToken !== refused) return session.accessToken;
      if (!canRenew()) return undefined;
      await renewOnce(signal);
      return session.accessToken === refused ? undefined : session.accessToken;
    },
  };
}

export type Keeper = ReturnType<typeof keeper>;

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
