import { originOf } from "../access/origin.ts";
import type { Agent } from "../agents/agent.ts";
import { authorityOf, type Caller } from "../access/authenticate.ts";
import { recordIntent } from "../audit/intent.ts";
import { sendRecords } from "../audit/message.ts";
import { toApiError } from "../http/error-response.ts";
import { unavailable } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { logRefusal } from "../log/request-log.ts";
import { newEvent, quotePath, type Event } from "../outbox/event.ts";
import { newEntry, newRandom, type AuditEntry } from "../outbox/record.ts";
import type { ResolvedRequest } from "../policy/resolve.ts";
import { requiredPermission } from "./refusals.ts";
import type { UpstreamFailure } from "./upstream/forward.ts";
import type { Meter } from "./upstream/meter.ts";
import type { BodyEnd } from "./upstream/stream-body.ts";

/** A request of a known agent, resolved: what its record is about. */
export interface AuditedRequest {
  readonly context: RequestContext;
  readonly caller: Caller;
  readonly resolved: ResolvedRequest;
  readonly record: CallRecord;
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

/** The ends that are the gateway's own doing, which are logged for the operator too. */
const CUTS: ReadonlySet<EarlyEnd> = new Set(["credential_echo", "too_large"] as const);

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

/** What is told of a call when it has ended. */
type Ending = Pick<AuditEntry, "outcome" | "status"> & Partial<Pick<AuditEntry, "upstreamStatus" | "message">>;

/** How long after the last moment at which a call may end its intent waits for the end, in milliseconds: the queue may be late. */
const END_MARGIN_MS = 300_000;

/** What the record of a call says in place of a path that contains the agent's token. */
const HIDDEN_PATH = "/***";

/**
 * The record of one proxied request in the audit log. It is one record, whatever happens: the first ending that is told counts. A write
 * has an intent before it is sent, so that the record stands also if nothing more is heard of it. With a delegated token, the agent and
 * each of those that it acts for have a record of their own, and so have their owners.
 */
export class CallRecord {
  /** How many bytes have passed. */
  readonly meter: Meter = { bytesIn: 0, bytesOut: 0 };
  readonly #context: RequestContext;
  /** One for each agent, the sender's first. */
  readonly #entries: readonly [AuditEntry, ...AuditEntry[]];
  readonly #resolved: ResolvedRequest;
  #intents: readonly AuditEntry[] = [];
  #denial: Denial | undefined;
  #reason: string | undefined;
  #hasEnded = false;

  /** @param context the request as it arrived. */
  constructor(context: RequestContext, caller: Caller, resolved: ResolvedRequest) {
    const { service, method, path, rule, required } = resolved;
    this.#context = context;
    this.#resolved = resolved;
    const origin = originOf({ ...context, caller });
    const about = { service: service.name, method, path, rule, permission: required.join(" ") };
    const entryOf = ({ id }: Agent) => newEntry("gateway.call", context.now, origin, { ...about, agentId: id });
    const [agent, ...delegators] = caller.agents;
    this.#entries = [entryOf(agent), ...delegators.map(entryOf)];
  }

  /** Changes what all the entries say. */
  #set(changed: Partial<AuditEntry>): void {
    for (const entry of this.#entries) Object.assign(entry, changed);
  }

  /** The path contains the agent's token, which must not be recorded. */
  hidePath(): void {
    this.#set({ path: HIDDEN_PATH });
  }

  /** Says why the request is about to be refused, in the words of the record. The error's code says it otherwise. */
  explain(reason: string): void {
    this.#reason = reason;
  }

  /** Says why the request is about to be denied. The webhooks of the agent's owner get the event `gateway.denied`. */
  deny(denial: Denial): void {
    this.#denial = denial;
  }

  /**
   * Records the intent of a write, on the condition that its sender still may send it. A read has none. One D1 round trip.
   *
   * @throws {AuthorityLostError} if it may not; 503 `audit_unavailable` if the intent cannot be recorded and `AUDIT_ON_FAILURE` says that
   * nothing is written then.
   */
  async begin(caller: Caller): Promise<void> {
    if (!this.#resolved.write) return;
    const { env, config, timing } = this.#context;
    const { timeoutMs, idleTimeoutMs } = this.#resolved.service;
    const begun = { part: "intent", outcome: "unknown", bytesIn: this.meter.bytesIn } as const;
    const intents = this.#entries.map((entry): AuditEntry => ({ ...entry, ...begun }));
    const lastMoment = Date.now() + config.bodyTimeoutMs + timeoutMs + idleTimeoutMs;
    // Whatever of its permissions is changed, the version changes with it.
    const grantsVersions = caller.agents.map(({ id, grantsVersion }) => ({ agentId: id, version: grantsVersion }));
    const authority = { ...authorityOf(caller, []), grantsVersions };
    const recording = recordIntent(env.DB, authority, intents, lastMoment + END_MARGIN_MS);
    if (await timing.during("intent", recording)) {
      this.#intents = intents;
    } else if (config.auditOnFailure === "refuse_writes") {
      throw unavailable(
        "audit_unavailable",
        "The audit log takes no records now, and nothing is written without one. Try again later.",
      );
    }
  }

  /** Records the answer, once its body has ended. @param end how it ended early, if it did. */
  async answer(status: number, upstreamStatus: number, end?: BodyEnd): Promise<void> {
    const isGood = upstreamStatus < 400 && (end === undefined || end === "agent_closed");
    if (end !== undefined && CUTS.has(end)) this.#logCut(upstreamStatus, end);
    const message = end === undefined ? null : EARLY_ENDS[end];
    await this.#end({ outcome: isGood ? "success" : "failed", status, upstreamStatus, message });
  }

  /** Says of an upstream that its answer could not be passed on, for the error that follows. */
  upstreamFailed({ failure, upstreamStatus }: UpstreamFailure): void {
    this.#reason = isEarlyEnd(failure) ? EARLY_ENDS[failure] : failure;
    if (upstreamStatus === undefined || !(isEarlyEnd(failure) || failure === "bad_answer")) return;
    this.#set({ upstreamStatus });
  }

  /** Records that the request got the gateway's own error. */
  async refuse(error: unknown): Promise<void> {
    const { status, code } = toApiError(error);
    const denial = this.#denial;
    const isOwn = denial?.code === "insufficient_permissions" && this.#reason === undefined;
    const reason = this.#reason ?? (denial ? `denied, ${reasonOf(denial)}` : code);
    if (denial) this.#set({ permission: denial.permissions.join(" ") });
    await this.#end({ outcome: status < 500 ? "denied" : "failed", status, message: isOwn ? null : reason });
  }

  async #end(ending: Ending): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { env, now } = this.#context;
    const { bytesIn, bytesOut } = this.meter;
    const more = { ...ending, bytesIn, bytesOut, durationMs: Math.max(0, Date.now() - now) };
    const ended = this.#entries.map((entry, at): AuditEntry => {
      const intent = this.#intents[at];
      return intent
        ? { ...entry, ...more, part: "end", random: newRandom(), intentRandom: intent.random }
        : { ...entry, ...more };
    });
    const events = await Promise.all(ended.map((entry, at) => this.#event(entry, at > 0)));
    await sendRecords(
      env,
      ended.map((entry, at) => (events[at] ? { entry, event: events[at] } : { entry })),
    );
  }

  /** @param isDelegator whether the entry is of an agent that the sender acts for. It is not told from which address. */
  async #event({ agentId, ipAddress }: AuditEntry, isDelegator: boolean): Promise<Event | undefined> {
    const denial = this.#denial;
    if (!denial || agentId === null) return undefined;
    const { service, method, path } = this.#resolved;
    const { now } = this.#context;
    return newEvent("gateway.denied", agentId, now, {
      agent_id: agentId,
      denied_at: new Date(now).toISOString(),
      service: service.name,
      method,
      ...(await quotePath(path)),
      required: requiredPermission(this.#resolved, denial.permissions),
      code: denial.code,
      ...("fields" in denial && { fields: [...denial.fields] }),
      ip_address: isDelegator ? "" : (ipAddress ?? ""),
    });
  }

  #logCut(upstreamStatus: number, end: EarlyEnd): void {
    const { requestId, request } = this.#context;
    logRefusal({
      request_id: requestId,
      method: request.method,
      path: `/proxy/${this.#resolved.service.name}${this.#resolved.path}`,
      status: upstreamStatus,
      code: end === "too_large" ? "upstream_too_large" : end,
      agent_id: this.#entries[0].agentId ?? undefined,
    });
  }
}
