import { AgentAuthError, AuthenticationError, NotFoundError, PermissionDeniedError } from "./errors.ts";
import type { Session } from "./identity.ts";
import { randomId } from "./jwt.ts";
import type { CallOptions } from "./options.ts";
import type { TokenManager } from "./session.ts";
import { send, type Transport } from "./transport.ts";

export interface ApiRequest<Answer> {
  readonly method: string;
  readonly path: string;
  /** The query of a GET, the JSON body of any other method. */
  readonly data?: object | undefined;
  /** False for a request that must not be sent again while the outcome of an earlier attempt is unknown. Default true. */
  readonly repeatable?: boolean | undefined;
  /** True for a request that the server carries out once for its `Idempotency-Key`: it gets one, and can then be repeated. */
  readonly idempotent?: boolean | undefined;
  /**
   * For a request whose second execution fails because the first one succeeded: what it resolves with if this error follows
   * an attempt whose response was lost. Undefined if the error proves nothing.
   */
  readonly resolveRepeated?: ((error: AgentAuthError) => Answer | undefined) | undefined;
}

/** Calls one of AgentAuth's own endpoints with the client's token. */
export type Call = <Answer>(request: ApiRequest<Answer>, options?: CallOptions) => Promise<Answer>;

/**
 * A `Call` that renews the token once if the server refuses it, and once if the server denies a permission that the agent
 * holds by now: a token keeps the permissions of the time when it was issued. If the server asks for a more recent proof than the
 * token's, the call is repeated with the client's API key, or with a new token of its private key.
 */
export const createCall =
  (transport: Transport, tokens: TokenManager, session: Pick<Session, "apiKey" | "assert">): Call =>
  async <Answer>(request: ApiRequest<Answer>, { signal }: CallOptions = {}): Promise<Answer> => {
    const { method, path, data, repeatable = true, idempotent, resolveRepeated } = request;
    const idempotencyKey = idempotent ? randomId() : undefined;
    let isOutcomeUnknown = false;
    const onOutcomeUnknown = (): void => {
      isOutcomeUnknown = true;
    };
    const attempt = async (token?: string, proof?: object): Promise<Answer> => {
      try {
        // Another body is another request, which the server has not begun.
        const key = proof && idempotencyKey ? randomId() : idempotencyKey;
        const sent = proof ? { ...data, ...proof } : data;
        const call = { method, path, data: sent, token, idempotencyKey: key, signal, repeatable, onOutcomeUnknown };
        return await send(transport, call);
      } catch (error) {
        const answer = isOutcomeUnknown && error instanceof AgentAuthError && resolveRepeated?.(error);
        if (answer) return answer;
        throw error;
      }
    };
    const token = await tokens.get(signal);
    try {
      return await attempt(token);
    } catch (error) {
      if (error instanceof AuthenticationError) {
        const renewed = await tokens.replace(token, signal);
        if (renewed) return attempt(renewed);
        if (token) throw error;
        const message = "This call needs a token. Give the client agentId and apiKey, or call verifyAgent.";
        throw new AuthenticationError({ ...error, message }, { cause: error });
      }
      if (error instanceof PermissionDeniedError) {
        const { apiKey, assert } = session;
        const isProven = data && "api_key" in data && data.api_key;
        if (error.code === "reauthentication_required" && apiKey && !isProven) {
          return attempt(token, { api_key: apiKey.trim() });
        }
        // A new token is the proof of a private key.
        if (error.code === "reauthentication_required" && assert) return attempt(await tokens.replace(token, signal));
        const renewed = await tokens.replaceIfGranted(token, error.required, signal);
        if (renewed) return attempt(renewed);
      }
      throw error;
    }
  };

/** What a repeated deletion resolves with: 404 says that the lost response was a success. */
export const resolveRepeatedDelete = (error: AgentAuthError): { success: true; message: string } | undefined =>
  error instanceof NotFoundError
    ? { success: true, message: "Deleted. The response to an earlier attempt of this call was lost." }
    : undefined;

const pathOf =
  (kind: string) =>
  (id: string, rest = ""): string =>
    `/${kind}/${encodeURIComponent(id)}${rest}`;

export const agentPath = pathOf("agents");
export const webhookPath = pathOf("webhooks");
