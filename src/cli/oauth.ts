import { EXIT, Failure } from "./failure.ts";

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
 * Posts a form to an OAuth endpoint. A request is not repeated here: what is waited for is asked for again anyway.
 *
 * @throws {Failure} if the deployment does not answer as AgentAuth does.
 */
export async function postForm<Answer>(
  url: string,
  form: Readonly<Record<string, string>>,
  { signal, token }: { signal: AbortSignal; token?: string },
): Promise<OAuthAnswer<Answer>> {
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        accept: "application/json",
        // The page on which a person confirms the device grant shows it.
        "user-agent": "agentauth",
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: new URLSearchParams(form).toString(),
      redirect: "manual",
      signal,
    });
    body = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Failure(
      EXIT.unreachable,
      "connection_failed",
      `${new URL(url).origin} could not be reached, or is not an AgentAuth. Check --url or AGENTAUTH_URL.`,
    );
  }
  if (response.ok) return { ok: true, body: body as Answer };
  const { error = "unknown", error_description } = (body ?? {}) as Partial<OAuthRefusal>;
  return { ok: false, error, ...(error_description !== undefined && { error_description }) };
}
