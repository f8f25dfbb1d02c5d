import { setTimeout as sleep } from "node:timers/promises";
import { AgentAuthError, notAgentAuth } from "../client/errors.ts";
import { EXIT, Failure, type ExitCode } from "./failure.ts";
import { CLIENT_ID, postForm, type OAuthAnswer, type OAuthRefusal } from "./oauth.ts";

const DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code";

/** RFC 8628 §3.2. */
interface DeviceAuthorization {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly expires_in: number;
  readonly interval?: number;
}

interface DeviceToken {
  readonly access_token: string;
  readonly expires_in: number;
}

/** What the person is shown: where to go, and what to type there. */
export type ShowCode = (shown: { page: string; code: string; seconds: number }) => void;

/**
 * Signs a person in by the device grant (RFC 8628): they type a code into a page of the deployment, and confirm it with a passkey.
 *
 * @param options.timeout how long one answer may take, in milliseconds.
 * @param options.wait waits so many milliseconds, or throws if the signal is aborted.
 * @returns an access token, and how many seconds it lives.
 * @throws {Failure} if they decline, or the code expires.
 * @throws {AgentAuthError} if the deployment does not answer, or not as AgentAuth does.
 */
export async function signInByDevice(
  url: string,
  show: ShowCode,
  {
    signal,
    timeout,
    wait = (ms) => sleep(ms, undefined, { signal }),
  }: { signal: AbortSignal; timeout: number; wait?: (ms: number) => Promise<void> },
): Promise<DeviceToken> {
  const post = <Answer>(path: string, form: Readonly<Record<string, string>>) =>
    postForm<Answer>(url, path, { ...form, client_id: CLIENT_ID }, { signal, timeout });
  const begun = await post<DeviceAuthorization>("/oauth/device_authorization", {});
  if (!begun.ok) throw refused(begun);
  const { device_code, user_code, verification_uri, expires_in, interval = 5 } = begun.body;
  if (![device_code, user_code].every(Boolean) || !URL.canParse(verification_uri) || !(expires_in > 0)) {
    throw notAgentAuth(200, `${url} gave no code for the sign-in`);
  }
  // The page is opened by a person, who trusts the deployment that they have named and no other.
  if (new URL(verification_uri).protocol !== "https:" && new URL(url).protocol === "https:") {
    throw new Failure(EXIT.unreachable, "not_agentauth", "The deployment named a page that is not https. Check --url.");
  }
  show({ page: verification_uri, code: user_code, seconds: expires_in });
  let seconds = interval;
  for (let waited = 0; ;) {
    await wait(seconds * 1000);
    waited += seconds;
    let answer: OAuthAnswer<DeviceToken>;
    try {
      answer = await post<DeviceToken>("/oauth/token", { grant_type: DEVICE_CODE, device_code });
    } catch (error) {
      // A network that is away for a moment does not cost the code that was shown: the next poll is later (RFC 8628 §3.5).
      if (waited >= expires_in || !(error instanceof AgentAuthError) || !MAY_PASS.has(error.code)) throw error;
      seconds = Math.min(2 * seconds, 60);
      continue;
    }
    if (answer.ok) {
      if (answer.body.access_token && answer.body.expires_in > 0) return answer.body;
      throw notAgentAuth(200, `${url} gave no token`);
    }
    // RFC 8628 §3.5: slow_down asks for 5 seconds more, from now on.
    if (answer.error === "slow_down") seconds += 5;
    else if (answer.error !== "authorization_pending" && answer.error !== "temporarily_unavailable")
      throw refused(answer);
  }
}

const MAY_PASS: ReadonlySet<string> = new Set(["connection_failed", "timeout", "unavailable"]);

const SENTENCES: Readonly<Record<string, readonly [ExitCode, string]>> = {
  access_denied: [
    EXIT.denied,
    "It was declined, or whoever confirmed it may not be signed in. Run `agentauth login` again if that is a mistake.",
  ],
  expired_token: [EXIT.notSignedIn, "The code has expired before it was confirmed. Run `agentauth login` again."],
  temporarily_unavailable: [
    EXIT.rateLimited,
    "The deployment is busy, or you have tried too often. Try again in a minute.",
  ],
};

function refused({ error, error_description }: OAuthRefusal): Failure {
  const [exit, sentence] = SENTENCES[error] ?? [
    EXIT.failed,
    `The deployment does not sign people in for this command (${error_description ?? error}). Sign in as an agent: \`agentauth login --agent\`.`,
  ];
  return new Failure(exit, error, sentence);
}
