import type { OnTokens } from "./session.ts";

export interface ClientOptions {
  /** Where AgentAuth answers, for example `https://agentauth.example.com`. */
  baseUrl?: string;
  /** The same, in the published SDK's spelling. */
  baseURL?: string;
  /** With `apiKey`: the client proves itself on first use and keeps its tokens good. */
  agentId?: string;
  apiKey?: string;
  accessToken?: string;
  refreshToken?: string;
  /** How often a call is sent again at the most; 3. */
  maxRetries?: number;
  /** Milliseconds for one attempt; 10,000. */
  timeout?: number;
  fetch?: typeof fetch;
  /** Told of every new pair of tokens, to keep it for the next start. Awaited before they are used. */
  onTokens?: OnTokens;
}

export interface CallOptions {
  signal?: AbortSignal;
}
