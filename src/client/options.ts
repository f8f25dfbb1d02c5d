import type { OnTokens } from "./session.ts";
import type { Fetch } from "./transport.ts";

export interface ClientOptions {
  /** Where AgentAuth answers, for example `https://agentauth.example.com`. */
  baseUrl?: string | undefined;
  /** The same, in the published SDK's spelling. */
  baseURL?: string | undefined;
  /** With `apiKey`: the client proves itself on first use and keeps its tokens good. */
  agentId?: string | undefined;
  apiKey?: string | undefined;
  accessToken?: string | undefined;
  refreshToken?: string | undefined;
  /** How often a call is sent again at the most; 3. */
  maxRetries?: number | undefined;
  /** Milliseconds for one attempt; 10,000. */
  timeout?: number | undefined;
  fetch?: Fetch | undefined;
  /**
   * Told of every new pair of tokens, to keep it for the next start. The call that needed them waits for it, and throws what it
   * throws; the client has the tokens all the same.
   */
  onTokens?: OnTokens | undefined;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** As browsers write it, without what a URL may have of credentials, query and slashes at its end. @throws {TypeError} */
export function checkedBase(text = ""): string {
  if (!URL.canParse(text) || !/^\s*https?:/i.test(text)) {
    // What was given may be a key that took the wrong way.
    throw new TypeError("baseUrl must be a URL such as https://agentauth.example.com.");
  }
  const { origin, pathname } = new URL(text);
  return (origin + pathname).replace(/\/+$/, "");
}
