import type { Config } from "../config/config.ts";
import type { Service } from "../policy/services.ts";
import { getCredential, type CredentialFault } from "./credentials/credentials.ts";
import type { TokenContext } from "./credentials/upstream-token.ts";

/** How long an upstream may take to answer a check, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Slack says in the body whether it has taken a token; that much of it is read, in bytes. */
const MAX_BODY_BYTES = 4096;

/** A request of the vendor's API that only reads, that every token may make, and that is refused without one. */
interface Check {
  readonly path: string;
  /** Whether a status says nothing, and the body's `ok` does. */
  readonly saysOk?: boolean;
}

const CHECKS: Readonly<Record<string, Check>> = {
  // https://docs.github.com/en/rest/rate-limit/rate-limit
  github: { path: "/rate_limit" },
  // https://docs.slack.dev/reference/methods/auth.test
  slack: { path: "/auth.test", saysOk: true },
  // https://developers.hubspot.com/docs/api-reference/account-account-info-v3/guide
  hubspot: { path: "/account-info/v3/details" },
  // https://developer.zendesk.com/api-reference/ticketing/users/users/#show-self
  zendesk: { path: "/api/v2/users/me.json" },
  // https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_limits.htm
  salesforce: { path: "/services/data/v61.0/limits" },
  // https://docs.stripe.com/api/balance/balance_retrieve
  stripe: { path: "/v1/balance" },
};

/**
 * How a check ended.
 *
 * - `works`: the upstream took the credential. It may still refuse single requests.
 * - `refused`: the upstream answered that it does not take it.
 * - `unclear`: it answered, and what it said does not tell.
 * - `unreachable`: it did not answer in time.
 * - `not_configured`: there is no credential, or no base URL; `message` names the setting.
 */
export interface CheckResult {
  readonly outcome: "works" | "refused" | "unclear" | "unreachable" | "not_configured";
  /** The path that was requested, or null if nothing was sent. */
  readonly path: string | null;
  readonly upstreamStatus: number | null;
  readonly durationMs: number | null;
  /** What it means and what to do. It contains nothing that the upstream said. */
  readonly message: string;
}

/**
 * Sends one small fixed request with a service's credential, to see whether the upstream takes it: of a built-in service one that its
 * vendor has for this, of any other a GET of its base URL. Nothing of the answer is kept but its status.
 *
 * @param clock milliseconds, for how long it takes.
 */
export async function checkService(
  service: Service,
  config: Pick<Config, "secret" | "dataKeys">,
  context: Omit<TokenContext, "keys">,
  clock: () => number = Date.now,
): Promise<CheckResult> {
  const credential = await getCredential(service, config, context);
  if (!("headers" in credential)) return notConfigured(credential);
  const check = CHECKS[service.name];
  const path = service.basePath + (check?.path ?? "/");
  const url = new URL(credential.origin + path);
  if (credential.parameter) url.searchParams.set(credential.parameter.name, credential.parameter.value);
  const began = clock();
  const answered = await request(url, credential.headers, check?.saysOk ?? false);
  const durationMs = clock() - began;
  if (answered === undefined) {
    const message = `${credential.origin} did not answer within ${TIMEOUT_MS / 1000} seconds. Look at base_url, and at the upstream.`;
    return { outcome: "unreachable", path, upstreamStatus: null, durationMs, message };
  }
  if (answered.status === 401) credential.invalidate?.();
  return { ...judge(answered, service, check), path, upstreamStatus: answered.status, durationMs };
}

interface Answered {
  readonly status: number;
  /** What the body's `ok` says, where it is asked for. */
  readonly ok: boolean | undefined;
}

async function request(
  url: URL,
  headers: ReadonlyArray<readonly [string, string]>,
  saysOk: boolean,
): Promise<Answered | undefined> {
  try {
    const response = await fetch(url, {
      headers: [
        ...headers.map(([name, value]): [string, string] => [name, value]),
        ["accept", "application/json"],
        ["user-agent", "AgentAuth"],
      ],
      // A redirect could take the credential to another host.
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const ok = saysOk ? await readOk(response) : undefined;
    if (!saysOk) await response.body?.cancel();
    return { status: response.status, ok };
  } catch {
    return undefined;
  }
}

/** The member `ok` at the beginning of a body. Undefined if there is none. */
async function readOk(response: Response): Promise<boolean | undefined> {
  const reader = response.body?.getReader();
  if (!reader) return undefined;
  const decoder = new TextDecoder();
  let text = "";
  while (text.length < MAX_BODY_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  const found = /^\s*\{\s*"ok"\s*:\s*(true|false)\b/.exec(text)?.[1];
  return found === undefined ? undefined : found === "true";
}

function judge(
  { status, ok }: Answered,
  service: Service,
  check: Check | undefined,
): Pick<CheckResult, "outcome" | "message"> {
  if (status === 401 || ok === false) {
    const secrets = `the secrets UPSTREAM_${service.name.toUpperCase()}_…`;
    return { outcome: "refused", message: `The upstream refuses the credential. Make a new one, and set ${secrets}.` };
  }
  const isGood = status >= 200 && status < 300;
  if (service.credential.scheme === "none") {
    return {
      outcome: isGood ? "works" : "unclear",
      message: `The upstream answered ${status}. It needs no credential.`,
    };
  }
  if (check && isGood && (!check.saysOk || ok === true)) {
    return { outcome: "works", message: "The upstream takes the credential." };
  }
  if (check && status === 403) {
    return {
      outcome: "works",
      message:
        "The upstream knows the credential, which may not make this request: it may do less than what agents are granted.",
    };
  }
  return {
    outcome: "unclear",
    message: `The upstream answered ${status}, which does not say whether it takes the credential.`,
  };
}

function notConfigured(fault: CredentialFault): CheckResult {
  const message =
    "setting" in fault
      ? `${fault.setting} ${fault.fault}.`
      : "The token endpoint issued no access token. Look at the client's id and secret, and at the log.";
  return { outcome: "not_configured", path: null, upstreamStatus: null, durationMs: null, message };
}
