import { AuthenticationError } from "./errors.ts";
import type { CallOptions } from "./options.ts";
import type { Keeper } from "./session.ts";
import { send, type Transport } from "./transport.ts";

/**
 * @param data the query of a GET, the body of any other.
 * @param repeatable false: not sent again where nobody knows what became of it.
 */
export type Call = <Answer>(
  method: string,
  path: string,
  options?: CallOptions,
  data?: object,
  repeatable?: boolean,
) => Promise<Answer>;

/** Calls with a token, and once more with another where it is refused. */
export const callerOf =
  (transport: Transport, keeper: Keeper): Call =>
  async <Answer>(
    method: string,
    path: string,
    { signal }: CallOptions = {},
    data?: object,
    repeatable = true,
  ): Promise<Answer> => {
    const sent = (token?: string): Promise<Answer> =>
      send(transport, { method, path, data, token, signal, repeatable });
    const token = await keeper.token(signal);
    try {
      return await sent(token);
    } catch (error) {
      if (!(error instanceof AuthenticationError)) throw error;
      const fresh = await keeper.after(token, signal);
      if (fresh) return sent(fresh);
      if (token) throw error;
      const message = "This call needs a token. Give the client agentId and apiKey, or call verifyAgent.";
      throw new AuthenticationError({ ...error, message }, { cause: error });
    }
  };

const pathOf =
  (kind: string) =>
  (id: string, rest = ""): string =>
    `/${kind}/${encodeURIComponent(id)}${rest}`;

export const agentPath = pathOf("agents");
export const webhookPath = pathOf("webhooks");
