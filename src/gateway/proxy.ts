import { recordActivity } from "../audit/record.ts";
import { authenticate, callerWith, readClaims, type Caller } from "../access/authenticate.ts";
import { ApiError, forbidden, notFound } from "../http/errors.ts";
import { limitAgent } from "../access/rate-limit.ts";
import { logRefusal } from "../log/request-log.ts";
import type { RequestContext } from "../http/request-context.ts";
import { newEvent, quotePath } from "../outbox/event.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { serviceWildcard } from "../permissions/grammar.ts";
import { isGranted } from "../permissions/match.ts";
import { getCredential, type Credential, type CredentialFault } from "./credentials/credentials.ts";
import type { BodyToSend } from "../policy/body.ts";
import { watchCaller } from "./caller-watch.ts";
import {
  bodyRefusal,
  resolveRequest,
  lackingPermissions,
  type ProxyRequest,
  type ResolvedRequest,
  type Refusal,
} from "../policy/resolve.ts";
import { forward, type UpstreamFailure } from "./upstream/forward.ts";
import type { BodyEnd } from "./upstream/stream-body.ts";
import { bodyOf, isReadFirst, mustBeRead, receiveBody, type ReceivedBody } from "./request-body.ts";
import { isRead } from "../policy/rule.ts";

/**
 * One request through the gateway: what it means, its body where that is short or judged, who sent it, whether that agent may, and
 * then the upstream. A body that is streamed has its sender asked about again while it flows, and before its end is sent.
 *
 * @throws {ApiError} with a stable code for every refusal.
 */
export async function proxy(arrived: RequestContext): Promise<Response> {
  const { request, env, config } = arrived;
  const ask = toProxyRequest(request);
  const meaning = resolveRequest(config.services, ask);
  if (meaning.decision === "refuse" && meaning.status === 400) throw refusal(meaning);

  const isSent = meaning.decision === "judge" && !isRead(meaning.method) && request.body !== null;
  let received = isSent && isReadFirst(request, meaning) ? await receive(arrived) : undefined;
  let call = received ? now(arrived) : arrived;
  // A write must see a revocation at once; a read may be as old as the published bound.
  const isStreamed = isSent && !received;
  const maxAge = (meaning.decision === "judge" && meaning.write) || isStreamed ? 0 : config.standingTtl * 1000;
  let caller = await authenticate(call, maxAge);
  await limitAgent(env, caller.agent);
  if (meaning.decision === "refuse") throw refusal(meaning);
  checkGrants(call, meaning, caller);

  if (isStreamed && mustBeRead(request, meaning, widerKeys(meaning, caller, config.catalogue))) {
    // Too long to be read for strangers.
    received = await receive(arrived);
    call = now(arrived);
    caller = await authenticate(call, 0);
    checkGrants(call, meaning, caller);
  }
  const wider = widerKeys(meaning, caller, config.catalogue);
  const sent = bodyOf(request, received, meaning, wider);
  if (sent instanceof ApiError) throw sent;
  if ("code" in sent) {
    if (sent.parameter && wider.includes(sent.parameter)) {
      throw denied(call, meaning, caller, [serviceWildcard(meaning.service.name)], sent.parameter);
    }
    recordFailure(call, caller, "failure", `${line(meaning)} → refused, ${sent.code}`);
    throw refusal(bodyRefusal(sent));
  }
  const credential = await getCredential(meaning.service, config, call);
  if (!("headers" in credential)) {
    recordFailure(call, caller, "failure", `${line(meaning)} → no credential`);
    throw credentialUnavailable(meaning, credential);
  }

  const answer = fetchUpstream(call, caller, meaning, sent, credential);
  // What was sent is recorded also when nobody waits for the answer any more.
  call.waitUntil(answer.then(({ recorded }) => recorded).catch(() => undefined));
  return (await answer).response;
}

/** A stranger's body is not read. */
async function receive(call: RequestContext): Promise<ReceivedBody> {
  await readClaims(call);
  return receiveBody(call.request.body!, call.config.bodyTimeoutMs);
}

const now = (call: RequestContext): RequestContext => ({ ...call, now: Date.now() });

/** @throws {ApiError} 403 for a permission that is lacking. */
function checkGrants(call: RequestContext, meaning: ResolvedRequest, caller: Caller): void {
  const lacking = lackingPermissions(meaning, caller.permissions, call.config.catalogue);
  if (lacking.length > 0) throw denied(call, meaning, caller, lacking);
}

async function fetchUpstream(
  call: RequestContext,
  caller: Caller,
  meaning: ResolvedRequest,
  sent: BodyToSend,
  credential: Credential,
): Promise<{ response: Response; recorded: Promise<void> }> {
  const { standingTtl, bodyTimeoutMs } = call.config;
  const watch = watchCaller({
    askedAt: call.now,
    maxAge: standingTtl * 1000,
    async check(isWritten) {
      const again = now(call);
      // A body that ends after its token has is judged by the time of its end. What already flows to the agent may end later.
      const still = isWritten ? await authenticate(again, 0) : await callerWith(caller.claims, again, 0);
      checkGrants(again, meaning, still);
      // Streamed past the check of its keys, because its sender held the whole service.
      const keys = sent.body instanceof ReadableStream ? widerKeys(meaning, still, call.config.catalogue) : [];
      if (keys.length > 0) throw denied(again, meaning, still, [serviceWildcard(meaning.service.name)], keys[0]);
    },
  });
  const outcome = await forward(call.request, sent, meaning, credential, {
    caller: watch,
    bodyTimeoutMs,
    issuer: call.config.issuer,
  }).catch((cause: unknown) => {
    if (cause instanceof ApiError) {
      recordFailure(call, caller, "failure", `${line(meaning)} → broken off, ${cause.code}`);
    }
    throw cause;
  });
  if ("failure" in outcome) throw upstreamError(call, caller, meaning, outcome);
  const { response, upstreamStatus, done } = outcome;
  const status = upstreamStatus < 400 ? "success" : "failure";
  const recorded = activityOf(call, caller, status, `${line(meaning)} → ${upstreamStatus}`);
  if (done) {
    call.waitUntil(
      done.then((fault) => {
        if (!fault) return;
        recordFailure(call, caller, "failure", `${line(meaning)} → ${upstreamStatus}, ${ENDS[fault]}`);
        if (fault !== "broken_off" && fault !== "caller_ended") logCut(call, caller, meaning, upstreamStatus, fault);
      }),
    );
  }
  return { response, recorded };
}

/** Takes the service and the raw rest from a URL's own text: one string for both, and none that was parsed again. */
function toProxyRequest({ url, method, headers }: Request): ProxyRequest {
  const path = url.slice(url.indexOf("/", url.indexOf("://") + 3));
  // What reaches here in another spelling was decoded by the router alone.
  if (!path.startsWith("/proxy/")) throw notFound("This path");
  const rest = path.slice("/proxy/".length);
  const end = rest.search(/[/?#]/);
  const [service, target] = end === -1 ? [rest, ""] : [rest.slice(0, end), rest.slice(end)];
  return { service, method, target, headers };
}

/** The keys of a body that need the whole service, of a caller that does not hold it. */
function widerKeys({ service }: ResolvedRequest, { permissions }: Caller, catalogue: Catalogue): readonly string[] {
  const { widerBodyParameters = [] } = service.definition;
  const isFree = widerBodyParameters.length === 0 || isGranted(permissions, serviceWildcard(service.name), catalogue);
  return isFree ? [] : widerBodyParameters;
}

const ENDS: Readonly<Record<NonNullable<BodyEnd>, string>> = {
  broken_off: "the answer broke off",
  credential_echo: "cut off: credential_echo",
  caller_ended: "cut off: the agent may no longer do this",
  too_large: "cut off: upstream_too_large",
};

/** The answer is on its way already: nothing else would tell the operator. */
function logCut(
  call: RequestContext,
  caller: Caller,
  { service, path }: ResolvedRequest,
  status: number,
  fault: "credential_echo" | "too_large",
): void {
  logRefusal({
    request_id: call.requestId,
    method: call.request.method,
    path: `/proxy/${service.name}${path}`,
    status,
    code: fault === "too_large" ? "upstream_too_large" : fault,
    agent_id: caller.agent.id,
  });
}

const line = (meaning: ResolvedRequest) => `${meaning.service.name} ${meaning.method} ${meaning.path}`;

function activityOf(
  { env, now, ipAddress }: RequestContext,
  caller: Caller,
  status: "success" | "failure",
  message: string,
): Promise<void> {
  return recordActivity(env.ACTIVITY, { agentId: caller.agent.id, at: now, ipAddress, status, message, known: true });
}

function recordFailure(call: RequestContext, ...activity: [Caller, "failure", string]): void {
  call.waitUntil(activityOf(call, ...activity));
}

function refusal({ code, message }: Refusal): ApiError {
  const isMethod = code === "method_not_allowed";
  const headers = isMethod ? { Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" } : undefined;
  return new ApiError(code, message, { headers });
}

/** A covered path whose permission is lacking and an uncovered path answer alike: with what would be needed. */
function denied(
  call: RequestContext,
  meaning: ResolvedRequest,
  caller: Caller,
  lacking: readonly string[],
  parameter?: string,
): ApiError {
  const { env, now, ipAddress } = call;
  const required = lacking[0] ?? serviceWildcard(meaning.service.name);
  const message = `${line(meaning)} → denied, needs ${lacking.join(" and ")}`;
  const agentId = caller.agent.id;
  const recordDenial = async () => {
    const event = newEvent("gateway.denied", agentId, now, {
      agent_id: agentId,
      denied_at: new Date(now).toISOString(),
      service: meaning.service.name,
      method: meaning.method,
      ...(await quotePath(meaning.path)),
      required,
      ip_address: ipAddress,
    });
    const activity = { agentId, at: now, ipAddress, status: "failure", message, known: true } as const;
    await recordActivity(env.ACTIVITY, { ...activity, event });
  };
  call.waitUntil(recordDenial());
  return forbidden(
    "insufficient_permissions",
    meaning.rule === null || parameter
      ? `Nothing in the catalogue covers ${parameter ?? "this request"}, so it needs ${required}.`
      : `This request needs ${lacking.join(" and ")}. Ask the agent's administrator for it, then verify again.`,
    { required, granted: [...caller.permissions] },
  );
}

/** The answer names the service; which secret is missing is for the log. */
function credentialUnavailable({ service }: ResolvedRequest, fault: CredentialFault): ApiError {
  if ("missing" in fault) {
    return new ApiError(
      "upstream_not_configured",
      `The gateway is not set up for ${service.name}. Ask its administrator to set its credential.`,
      { extra: { upstream: service.name }, cause: `${fault.missing} is not set, or holds what is not ASCII` },
    );
  }
  return new ApiError("upstream_credential_failed", `${service.name} gave the gateway no access token.`, {
    extra: { upstream: service.name },
    cause: fault.failed,
  });
}

/** The code of the error for each way in which an upstream fails. */
const UPSTREAM_CODES = {
  timeout: "upstream_timeout",
  encoded: "upstream_encoded",
  bad_redirect: "upstream_bad_redirect",
  unreachable: "upstream_unreachable",
  broken_off: "upstream_unreachable",
  credential_echo: "credential_echo",
} as const satisfies Record<UpstreamFailure["failure"], string>;

function upstreamError(
  call: RequestContext,
  caller: Caller,
  meaning: ResolvedRequest,
  { failure, upstreamStatus, cause }: UpstreamFailure,
): ApiError {
  const { service } = meaning;
  const how = failure in ENDS ? `${upstreamStatus}, ${ENDS[failure as keyof typeof ENDS]}` : failure;
  recordFailure(call, caller, "failure", `${line(meaning)} → ${how}`);
  const message = {
    timeout: `${service.name} did not begin its answer within ${service.timeoutMs / 1000} seconds.`,
    encoded: `${service.name} answered in a Content-Encoding in which its credential could not be found.`,
    bad_redirect: `${service.name} redirects to a URL that no request of an agent may have, and is not followed: a path that the gateway refuses, another scheme than http(s), or the gateway itself.`,
    unreachable: `${service.name} could not be reached, or broke the connection off.`,
    broken_off: `${service.name} broke its answer off.`,
    credential_echo: `The answer of ${service.name} held the credential that the gateway put in, and is not passed on.`,
  }[failure];
  return new ApiError(UPSTREAM_CODES[failure], message, { extra: { upstream: service.name }, cause });
}
