import { AgentAuthClient } from "../client/client.ts";
import { send, type ApiCall, type Retry, type Transport } from "../client/transport.ts";
import { keepAccessToken, readCredential, type Credential } from "./credentials.ts";
import { EXIT, Failure } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

/** How the command speaks to one deployment. */
export interface Connection {
  readonly url: string;
  readonly credential: Credential | undefined;
  readonly client: AgentAuthClient;
  /** An access token. @throws {Failure} if the command is not signed in. */
  token(): Promise<string>;
  /** Calls an endpoint that the SDK has no call for, or in a way that it does not offer. */
  send<Answer>(call: Partial<ApiCall> & Pick<ApiCall, "method" | "path">): Promise<Answer>;
}

/** An access token that is used for less than this is asked for anew, in milliseconds. */
const MARGIN_MS = 60_000;

export const notSignedIn = (): Failure =>
  new Failure(EXIT.notSignedIn, "not_signed_in", "You are not signed in to this deployment. Run `agentauth login`.");

/** Who the command is: the agent of the environment, or whoever has signed in. @throws {Failure} */
export async function credentialOf({ env }: Terminal, url: string): Promise<Credential | undefined> {
  const { AGENTAUTH_AGENT_ID: agentId, AGENTAUTH_API_KEY: apiKey } = env;
  if (agentId && apiKey) return { kind: "agent", agent_id: agentId, api_key: apiKey };
  if (agentId || apiKey) {
    throw new Failure(
      EXIT.usage,
      "usage",
      "Of AGENTAUTH_AGENT_ID and AGENTAUTH_API_KEY only one is set. Set both, or neither.",
    );
  }
  return readCredential(env, url);
}

/** Connects to a deployment with a credential. */
export function connectWith(
  terminal: Terminal,
  {
    url,
    credential,
    signal,
    timeout,
  }: {
    url: string;
    credential: Credential | undefined;
    signal: AbortSignal;
    timeout: number;
  },
): Connection {
  const { env, stderr } = terminal;
  const now = Date.now();
  const onRetry = ({ delay }: Retry): void => {
    if (stderr.isTTY) stderr.write(`No success yet: trying again in ${Math.ceil(delay / 1000)} s.\n`);
  };
  const transport: Transport = {
    baseUrl: url,
    fetch: (input, init) => globalThis.fetch(input, init),
    // Somebody is waiting: seconds where nothing answers, and what the deployment names where it limits the rate.
    maxRetries: 4,
    maxRetryDelay: 90_000,
    onRetry,
    timeout,
    closed: signal,
  };
  const standing =
    credential?.access_token !== undefined && (credential.expires_at ?? 0) - MARGIN_MS > now
      ? credential.access_token
      : undefined;
  const client = new AgentAuthClient({
    baseUrl: url,
    accessToken: credential?.kind === "person" ? credential.access_token : standing,
    ...(credential?.kind === "agent" && {
      agentId: credential.agent_id,
      apiKey: credential.api_key,
      onTokens: ({ access_token: token, expires_in }) =>
        keepAccessToken(env, url, {
          apiKey: credential.api_key,
          token,
          expiresAt: Date.now() + expires_in * 1000,
        }),
    }),
    onRetry,
    timeout,
  });
  const connection: Connection = {
    url,
    credential,
    client,
    async token() {
      const token = credential && (await client.getAccessToken({ signal }));
      if (token === undefined) throw notSignedIn();
      return token;
    },
    send: (call) => send(transport, { repeatable: true, signal, ...call }),
  };
  return connection;
}

/** @throws {Failure} if the command is not signed in. */
export function requireSignedIn(connection: Connection): Credential {
  if (connection.credential) return connection.credential;
  throw notSignedIn();
}
