import type { Caller } from "../access/authenticate.ts";
import { recordActivity } from "../audit/record.ts";
import type { RequestContext } from "../http/request-context.ts";
import { logRefusal } from "../log/request-log.ts";
import { newEvent, quotePath } from "../outbox/event.ts";
import type { ResolvedRequest } from "../policy/resolve.ts";
import { requiredPermission } from "./refusals.ts";
import type { UpstreamFailure } from "./upstream/forward.ts";
import type { BodyEnd } from "./upstream/stream-body.ts";

/** What the gateway writes into the activity log of an agent: one line a request, and a second one if its answer is cut off. */

/** A request of a known agent, resolved: what every line is about. */
export interface AuditedRequest {
  readonly context: RequestContext;
  readonly caller: Caller;
  readonly resolved: ResolvedRequest;
}

/** How the body of an answer ended early. */
type EarlyEnd = NonNullable<BodyEnd>;

const EARLY_ENDS: Readonly<Record<EarlyEnd, string>> = {
  broken_off: "the answer broke off",
  stalled: "the answer stalled",
  credential_echo: "cut off: credential_echo",
  caller_ended: "cut off: the agent may no longer do this",
  too_large: "cut off: upstream_too_large",
  agent_closed: "the agent closed the connection",
  interrupted: "the agent or the upstream closed the connection",
};

const isEarlyEnd = (failure: string): failure is EarlyEnd => Object.hasOwn(EARLY_ENDS, failure);

/** Records the status that the upstream answered with. Resolves once the line is in the queue. */
export function recordAnswer(audited: AuditedRequest, upstreamStatus: number): Promise<void> {
  return record(audited, upstreamStatus < 400 ? "success" : "failure", `${upstreamStatus}`);
}

/**
 * Records, after the answer is on its way, that nothing was forwarded or no answer came.
 *
 * @param reason the end of the line, for example `no credential`.
 */
export function recordFailure(audited: AuditedRequest, reason: string): void {
  audited.context.waitUntil(record(audited, "failure", reason));
}

/** Records an upstream whose answer could not be passed on, with its status if it had begun one. */
export function recordUpstreamFailure(audited: AuditedRequest, { failure, upstreamStatus }: UpstreamFailure): void {
  const reason = isEarlyEnd(failure) ? EARLY_ENDS[failure] : failure;
  const hasStatus = isEarlyEnd(failure) || failure === "bad_answer";
  recordFailure(audited, hasStatus ? `${upstreamStatus}, ${reason}` : reason);
}

/** The ends that are the gateway's own doing, which are logged for the operator too. */
const CUTS: ReadonlySet<EarlyEnd> = new Set(["credential_echo", "too_large"] as const);

/** Records that an answer was cut off after its beginning had been sent. It is no failure that an agent closes its connection. */
export function recordEarlyEnd(audited: AuditedRequest, upstreamStatus: number, end: EarlyEnd): void {
  const status = end === "agent_closed" && upstreamStatus < 400 ? "success" : "failure";
  audited.context.waitUntil(record(audited, status, `${upstreamStatus}, ${EARLY_ENDS[end]}`));
  if (!CUTS.has(end)) return;
  const { context, caller, resolved } = audited;
  logRefusal({
    request_id: context.requestId,
    method: context.request.method,
    path: `/proxy/${resolved.service.name}${resolved.path}`,
    status: upstreamStatus,
    code: end === "too_large" ? "upstream_too_large" : end,
    agent_id: caller.agent.id,
  });
}

/** Why a request was denied. */
export type Denial =
  /** Permissions are missing. */
  | { readonly code: "insufficient_permissions"; readonly permissions: readonly string[] }
  | { readonly code: "grant_expired"; readonly permissions: readonly string[] }
  /** The request is outside the limits of a grant. The values of its fields are not recorded: they are what the agent sent. */
  | {
      readonly code: "constraint_violated";
      readonly permissions: readonly string[];
      readonly fields: readonly string[];
    };

/** Records a denial, and emits the event `gateway.denied` to the webhooks of the agent's owner. */
export function recordDenial(audited: AuditedRequest, denial: Denial): void {
  const { context, caller, resolved } = audited;
  const { env, now, ipAddress } = context;
  const agentId = caller.agent.id;
  const send = async (): Promise<void> => {
    const event = newEvent("gateway.denied", agentId, now, {
      agent_id: agentId,
      denied_at: new Date(now).toISOString(),
      service: resolved.service.name,
      method: resolved.method,
      ...(await quotePath(resolved.path)),
      required: requiredPermission(resolved, denial.permissions),
      code: denial.code,
      ...("fields" in denial && { fields: [...denial.fields] }),
      ip_address: ipAddress,
    });
    const message = lineOf(resolved, `denied, ${reasonOf(denial)}`);
    const activity = { agentId, at: now, ipAddress, status: "failure", message, known: true } as const;
    await recordActivity(env, { ...activity, event });
  };
  context.waitUntil(send());
}

function reasonOf(denial: Denial): string {
  const permissions = denial.permissions.join(" and ");
  switch (denial.code) {
    case "insufficient_permissions":
      return `needs ${permissions}`;
    case "grant_expired":
      return `the grant of ${permissions} has ended`;
    case "constraint_violated":
      return `outside the limits of ${permissions}: ${denial.fields.join(", ")}`;
  }
}

function record(
  { context, caller, resolved }: AuditedRequest,
  status: "success" | "failure",
  result: string,
): Promise<void> {
  const { env, now, ipAddress } = context;
  const message = lineOf(resolved, result);
  return recordActivity(env, { agentId: caller.agent.id, at: now, ipAddress, status, message, known: true });
}

const lineOf = ({ service, method, path }: ResolvedRequest, result: string): string =>
  `${service.name} ${method} ${path} → ${result}`;
