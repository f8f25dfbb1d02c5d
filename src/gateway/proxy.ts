import { recordActivity } from "../activity/record.ts";
import { authenticate, type Caller } from "../http/authenticate.ts";
import { ApiError, forbidden } from "../http/errors.ts";
import { limitAgent } from "../http/rate-limit.ts";
import type { RequestContext } from "../http/request.ts";
import { newEvent } from "../webhooks/event.ts";
import { wholeService } from "../permissions/grammar.ts";
import { credentialFor, type CredentialFault } from "./credentials.ts";
import { meaningOf, missing, type Meaning } from "./decide.ts";
import { forward } from "./forward.ts";

/**
 * One request through the gateway: what it means, who sent it, whether that agent may, and then the upstream.
 *
 * @throws {ApiError} with a stable code for every refusal.
 */
export async function proxy(call: RequestContext): Promise<Response> {
  const { request, env, config } = call;
  const { service, target } = splitProxyUrl(request.url);
  const meaning = meaningOf(config.services, service, request.method, target);
  if (meaning.decision === "refuse" && meaning.status === 400) throw refusal(meaning);
  if (request.headers.has("upgrade")) {
    throw new ApiError(400, {
      code: "upgrade_refused",
      error: "Bad request",
      message: "The gateway forwards plain requests only: leave the Upgrade header out.",
    });
  }

  // A write must see a revocation at once; a read may be as old as the published bound.
  const write = meaning.decision === "judge" && meaning.write;
  const caller = await authenticate(call, write ? 0 : config.standingTtl * 1000);
  await limitAgent(env, caller.agent);
  if (meaning.decision === "refuse") throw refusal(meaning);

  const lacking = missing(meaning, caller.permissions, config.catalogue);
  if (lacking.length > 0) throw denied(call, meaning, caller, lacking);

  const credential = await credentialFor(meaning.service, config, call);
  if (!("headers" in credential)) {
    record(call, caller, "failure", `${line(meaning)} → no credential`);
    throw noCredential(meaning, credential);
  }

  const outcome = await forward(request, meaning, credential, new URL(request.url).origin);
  if ("failure" in outcome) {
    record(call, caller, "failure", `${line(meaning)} → ${outcome.failure}`);
    throw upstreamError(meaning, outcome.failure, outcome.cause);
  }
  const { response, upstreamStatus, done } = outcome;
  record(call, caller, upstreamStatus < 400 ? "success" : "failure", `${line(meaning)} → ${upstreamStatus}`);
  call.waitUntil(
    done.then((cause) => {
      if (cause !== undefined)
        record(call, caller, "failure", `${line(meaning)} → ${upstreamStatus}, the answer broke off`);
    }),
  );
  return response;
}

/** Takes the service and the raw rest from a URL's own text: one string for both, and none that was parsed again. */
function splitProxyUrl(url: string): { service: string; target: string } {
  const rest = url.slice(url.indexOf("/proxy/", url.indexOf("://") + 3) + "/proxy/".length);
  const end = rest.search(/[/?#]/);
  return end === -1 ? { service: rest, target: "" } : { service: rest.slice(0, end), target: rest.slice(end) };
}

const line = (meaning: Meaning) => `${meaning.service.name} ${meaning.method} ${meaning.path}`;

function record(call: RequestContext, caller: Caller, status: "success" | "failure", message: string): void {
  const { env, now, ipAddress } = call;
  call.waitUntil(recordActivity(env.ACTIVITY, { agentId: caller.agent.id, at: now, ipAddress, status, message }));
}

function refusal({ status, code, message }: { status: number; code: string; message: string }): ApiError {
  const error = { 400: "Bad request", 404: "Not found", 405: "Method not allowed" }[status] ?? "Bad request";
  const headers = status === 405 ? { Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" } : undefined;
  return new ApiError(status, { code, error, message, ...(headers && { headers }) });
}

/** A covered path whose permission is lacking and an uncovered path answer alike: with what would be needed. */
function denied(call: RequestContext, meaning: Meaning, caller: Caller, lacking: readonly string[]): ApiError {
  const { env, now, ipAddress } = call;
  const required = lacking[0] ?? wholeService(meaning.service.name);
  const message = `${line(meaning)} → denied, needs ${lacking.join(" and ")}`;
  const event = newEvent("gateway.denied", caller.agent.id, now, {
    agent_id: caller.agent.id,
    denied_at: new Date(now).toISOString(),
    service: meaning.service.name,
    method: meaning.method,
    path: meaning.path,
    required,
    ip_address: ipAddress,
  });
  call.waitUntil(
    recordActivity(env.ACTIVITY, { agentId: caller.agent.id, at: now, ipAddress, status: "failure", message, event }),
  );
  return forbidden(
    "insufficient_permissions",
    meaning.rule === null
      ? `Nothing in the catalogue covers this request, so it needs ${required}.`
      : `This request needs ${lacking.join(" and ")}. Ask the agent's administrator for it, then verify again.`,
    { required, granted: [...caller.permissions] },
  );
}

/** The answer names the service; which secret is missing is for the log. */
function noCredential({ service }: Meaning, fault: CredentialFault): ApiError {
  if ("missing" in fault) {
    return new ApiError(
      503,
      {
        code: "upstream_not_configured",
        error: "Service unavailable",
        message: `The gateway is not set up for ${service.name}. Ask its administrator to set its credential.`,
        extra: { upstream: service.name },
      },
      { cause: `${fault.missing} is not set` },
    );
  }
  return new ApiError(
    502,
    {
      code: "upstream_credential_failed",
      error: "Bad gateway",
      message: `${service.name} gave the gateway no access token.`,
      extra: { upstream: service.name },
    },
    { cause: fault.failed },
  );
}

function upstreamError({ service }: Meaning, failure: "timeout" | "unreachable", cause: unknown): ApiError {
  const late = failure === "timeout";
  return new ApiError(
    late ? 504 : 502,
    {
      code: late ? "upstream_timeout" : "upstream_unreachable",
      error: late ? "Gateway timeout" : "Bad gateway",
      message: late
        ? `${service.name} did not begin its answer within ${service.timeoutMs / 1000} seconds.`
        : `${service.name} could not be reached, or broke the connection off.`,
      extra: { upstream: service.name },
    },
    { cause },
  );
}
