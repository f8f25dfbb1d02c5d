import { toError } from "../client/errors.ts";
import { fetchWithin, parseJson, readText } from "../client/transport.ts";

/** The name under which the deployment knows this program: a public client (RFC 6749 §2.1), which has no secret. */
export const CLIENT_ID = "agentauth-cli";

/** A refusal of an OAuth endpoint (RFC 6749 §5.2). */
export interface OAuthRefusal {
  readonly error: string;
  readonly error_description?: string;
}

export type OAuthAnswer<Answer> =
  | { readonly ok: true; readonly body: Answer }
  | ({ readonly ok: false } & OAuthRefusal);

/**
 * Posts a form to an OAuth endpoint of a deployment. A request is not repeated here: what is waited for is asked for again anyway.
 *
 * @param options.timeout how long the answer may take, in milliseconds.
 * @throws {AgentAuthError} if there is no answer, or one that AgentAuth does not give.
 */
export async function postForm<Answer>(
  baseUrl: string,
  path: string,
  form: Readonly<Record<string, string>>,
  { signal, timeout, token }: { signal: AbortSignal; timeout: number; token?: string },
): Promise<OAuthAnswer<Answer>> {
  const url = baseUrl + path;
  const init = {
    method: "POST",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      accept: "application/json",
      // The page on which a person confirms the device grant shows it.
      "user-agent": "agentauth",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body: new URLSearchParams(form).toString(),
  };
  const [response, text] = await fetchWithin({ baseUrl, timeout, fetch }, url, init, [signal], readText);
  const body = parseJson(text);
  // The answer to a revocation has no body (RFC 7009 §2.2).
  if (response.ok && (text === "" || isObject(body))) return { ok: true, body: (body ?? {}) as Answer };
  if (response.ok || !isObject(body) || typeof body.error !== "string") throw toError(response, undefined, url);
  const { error, error_description } = body as unknown as OAuthRefusal;
  return { ok: false, error, ...(typeof error_description === "string" && { error_description }) };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;
