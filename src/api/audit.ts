import * as z from "zod/mini";
import { listOwnedAgents } from "../agents/owned.ts";
import type { Caller } from "../access/authenticate.ts";
import { originOf } from "../access/origin.ts";
import { route, type Call } from "../access/route.ts";
import { ArchiveError } from "../audit/archive/read.ts";
import { isByOther, isRecordId, type AuditRecord } from "../audit/audit-record.ts";
import type { RecordFilter } from "../audit/filter.ts";
import { sendRecords } from "../audit/message.ts";
import { findRecord, searchRecords, type Log } from "../audit/search.ts";
import { badRequest, forbidden, notFound, unavailable } from "../http/errors.ts";
import { ACTIONS, newEntry, OUTCOMES, type Action } from "../outbox/record.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { ACTOR_TYPES } from "../authority/actor-row.ts";
import { cursorOf, cursorPaging, nextCursor } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import { DAY_MS, MINUTE_MS } from "../time/lengths.ts";
import { once } from "../validation/once.ts";

const text = once(() => z.string().check(z.minLength(1), z.maxLength(256)));
const time = once(() => z.iso.datetime({ offset: true }));

/** Which records are meant. What is not given is not compared. */
export const recordFilterShape = once(() => ({
  agent_id: z.optional(text().check(z.describe("The agent that the record is about."))),
  actor: z.optional(
    text().check(z.describe("The id of who did it; `bootstrap` or `system` for those that have none.")),
  ),
  action: z.optional(z.enum(ACTIONS)),
  outcome: z.optional(z.enum(OUTCOMES)),
  service: z.optional(text()),
  method: z.optional(text()),
  path: z.optional(
    z
      .string()
      .check(
        z.regex(/^\//, { error: "must begin with /" }),
        z.maxLength(1024),
        z.describe("The beginning of the path."),
      ),
  ),
  permission: z.optional(text().check(z.describe("One of the permissions that the request needed."))),
  key_id: z.optional(text()),
  session_id: z.optional(text()),
  request_id: z.optional(text()),
  ip: z.optional(text()),
  from: z.optional(time().check(z.describe("At this time or later (RFC 3339)."))),
  to: z.optional(time().check(z.describe("Before this time (RFC 3339)."))),
  q: z.optional(
    text().check(
      z.describe("A part of the message, the path, the actor's name, or of what a change was from or to, in any case."),
    ),
  ),
}));

type RecordQuery = z.output<ReturnType<typeof recordFilter>>;
const recordFilter = () => z.object(recordFilterShape());

const nullableText = () => z.nullable(z.string());
const nullableNumber = () => z.nullable(z.int());
const change = (what: string) => z.nullable(z.record(z.string(), z.any())).check(z.describe(what));

/** A record of the wire. */
export const recordSchema = () =>
  z.object({
    id: z.string(),
    at: z.iso.datetime(),
    action: z.enum(ACTIONS),
    outcome: z
      .enum(OUTCOMES)
      .check(
        z.describe("`denied`: refused here. `failed`: tried, without success. `unknown`: its end was never heard of."),
      ),
    agent_id: nullableText().check(z.describe("The agent that it is about.")),
    actor: z
      .nullable(z.object({ type: z.enum(ACTOR_TYPES), id: nullableText(), name: nullableText() }))
      .check(z.describe("Who did it, with the name of that time; null for a stranger.")),
    act: z
      .array(z.object({ sub: z.string() }))
      .check(z.describe("The chain of delegation, the outermost actor first.")),
    ip_address: nullableText().check(
      z.describe(
        "Also null if somebody else acted on the agent and the caller is neither an administrator nor an auditor.",
      ),
    ),
    request_id: nullableText(),
    key_id: nullableText(),
    session_id: nullableText(),
    service: nullableText(),
    method: nullableText(),
    path: nullableText(),
    rule: nullableText().check(z.describe("The line of the rule that the request matched.")),
    permission: nullableText().check(z.describe("What the request needed; several with spaces between.")),
    status: nullableNumber().check(z.describe("What was answered.")),
    upstream_status: nullableNumber(),
    duration_ms: nullableNumber(),
    bytes_in: nullableNumber(),
    bytes_out: nullableNumber(),
    count: nullableNumber().check(z.describe("How many requests the record represents; null: one.")),
    before: change("What a change replaced."),
    after: change("What a change set."),
    message: nullableText(),
  });

/** @param reader who reads: agents and owners do not see from which address somebody else acted on the agent. */
export function toRecordResponse(
  record: AuditRecord,
  { seesAll, id }: Pick<Caller, "seesAll" | "id">,
): z.input<ReturnType<typeof recordSchema>> {
  return {
    id: record.id,
    at: toTimestamp(record.at),
    action: record.action,
    outcome: record.outcome,
    agent_id: record.agentId,
    actor: record.actor,
    act: [...record.act],
    ip_address: seesAll || !isByOther(record, id) ? record.ipAddress : null,
    request_id: record.requestId,
    key_id: record.keyId,
    session_id: record.sessionId,
    service: record.service,
    method: record.method,
    path: record.path,
    rule: record.rule,
    permission: record.permission,
    status: record.status,
    upstream_status: record.upstreamStatus,
    duration_ms: record.durationMs,
    bytes_in: record.bytesIn,
    bytes_out: record.bytesOut,
    count: record.count,
    before: record.before,
    after: record.after,
    message: record.message,
  };
}

/** Filters that no index serves, so that they need one agent or a short time. */
const UNINDEXED = ["q", "ip", "path"] as const;

/** Of more agents an owner does not read at once: each of them is looked up for each page. */
const MAX_OWNED = 500;

/**
 * The agents whose records a caller may read: administrators and auditors everybody's, an owner those of their agents, an agent its own.
 *
 * @param wanted the one agent that is asked for.
 * @returns undefined for everybody's, and those about no agent.
 * @throws {ApiError} 403 for somebody else's agent, which may exist or not; 400 if an owner has too many to read them all at once.
 */
async function readableAgents(
  { caller, env }: Pick<Call<"member">, "caller" | "env">,
  wanted: string | undefined,
): Promise<readonly string[] | undefined> {
  if (caller.seesAll) return wanted === undefined ? undefined : [wanted];
  if (caller.kind === "agent") {
    if (wanted === undefined || wanted === caller.id) return [caller.id];
    throw forbidden("insufficient_permissions", "An agent may only read records about itself.", {
      required: ADMIN,
      granted: [...caller.permissions],
    });
  }
  const owned = await listOwnedAgents(env.DB, caller.id, { ofAgent: wanted, limit: MAX_OWNED + 1 });
  if (wanted !== undefined && owned.length === 0) {
    throw forbidden("role_required", "An owner may only read records about agents of theirs.");
  }
  if (owned.length > MAX_OWNED) throw invalid("agent_id", `is needed, because you own more than ${MAX_OWNED} agents`);
  return owned;
}

/** Whether a caller may read a record. An owner may not know of an agent that is not theirs even that it has a record. */
async function mayRead(
  { caller, env }: Pick<Call<"own">, "caller" | "env">,
  { agentId }: AuditRecord,
): Promise<boolean> {
  if (caller.seesAll) return true;
  if (agentId === null || caller.kind === "agent") return agentId === caller.id;
  return (await listOwnedAgents(env.DB, caller.id, { ofAgent: agentId, limit: 1 })).length > 0;
}

/**
 * Returns the filter of a query, narrowed to what the caller may read.
 *
 * @throws {ApiError} as {@link readableAgents}, and 400 for a range that is empty or too long for what it is searched for.
 */
export async function toRecordFilter(
  query: RecordQuery,
  { caller, env, now }: Pick<Call<"member">, "caller" | "env" | "now">,
): Promise<RecordFilter> {
  const agentIds = await readableAgents({ caller, env }, query.agent_id);
  const [from, to] = [query.from, query.to].map((one) => (one === undefined ? undefined : Date.parse(one)));
  if (from !== undefined && to !== undefined && from >= to) throw invalid("to", "must be later than from");
  const unindexed = UNINDEXED.find((name) => query[name] !== undefined);
  if (unindexed && agentIds === undefined && (from === undefined || (to ?? now) - from > DAY_MS)) {
    throw invalid(unindexed, "needs agent_id, or from and to at most 24 hours apart");
  }
  return {
    agentIds,
    actor: query.actor,
    action: query.action,
    outcome: query.outcome,
    service: query.service,
    method: query.method,
    path: query.path,
    permission: query.permission,
    keyId: query.key_id,
    sessionId: query.session_id,
    requestId: query.request_id,
    ip: query.ip,
    from,
    to,
    q: query.q,
    // Whether a record is found would tell the caller the address that they do not see.
    addressSeenBy: !caller.seesAll && query.ip !== undefined ? caller.id : undefined,
  };
}

const invalid = (field: string, message: string) =>
  badRequest(`The query is not valid. ${field} ${message}.`, [{ field, message }]);

/** The databases and the bucket of the audit log. */
export const logOf = ({ env, config }: Pick<Call<"member">, "env" | "config">): Log => ({
  db: env.AUDIT_DB,
  bucket: env.AUDIT_ARCHIVE,
  dataKeys: config.dataKeys,
});

/** Records, behind the answer, that somebody has read the log, unless it is an agent that reads its own. @param query what was asked for. */
function recordReading(call: Call<"member">, action: Action, query: object): void {
  if (call.caller.kind === "agent" && !call.caller.seesAll) return;
  const { method, url } = call.request;
  if (wasJustRecorded(call, action, query)) return;
  const entry = newEntry(action, call.now, originOf(call), {
    method,
    path: new URL(url).pathname,
    after: { ...query },
  });
  call.waitUntil(sendRecords(call.env, [{ entry }]));
}

/** What people are reading, by the time of the record of it. */
const lastReadings = new BoundedCache<number>(200_000, () => 8);

/**
 * Whether this isolate has recorded the same reading of the same session within the last minute: a page that shows records live asks
 * again every few seconds, and would otherwise see mostly its own readings.
 */
function wasJustRecorded({ caller, request, now }: Call<"member">, action: Action, query: object): boolean {
  if (caller.kind !== "person") return false;
  const reading = JSON.stringify([caller.session.id, action, new URL(request.url).pathname, query]);
  const last = lastReadings.get(reading);
  if (last !== undefined && now - last < MINUTE_MS) return true;
  lastReadings.set(reading, now);
  return false;
}

/** @throws {ApiError} 503 instead of an {@link ArchiveError}. */
export async function withArchive<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    throw unavailable("archive_unavailable", "The archive of the audit log cannot be read now. Try again.", error);
  }
}

export const auditRoutes = [
  route({
    method: "GET",
    path: "/audit",
    auth: "member",
    summary:
      "The audit log, newest first: for administrators and auditors all of it, for an owner what is about their agents, for an agent its own; a page may be short and still have a next one",
    query: () => z.object({ ...cursorPaging(), cursor: cursorOf(isRecordId), ...recordFilterShape() }),
    response: () => z.object({ success: z.literal(true), records: z.array(recordSchema()), next_cursor: nextCursor() }),
    async handle(call) {
      const { query, caller } = call;
      const { limit, cursor, ...wanted } = query;
      const filter = await toRecordFilter(wanted, call);
      const { records, next } = await withArchive(searchRecords(logOf(call), filter, { limit, cursor }));
      recordReading(call, "audit.read", query);
      return {
        success: true,
        records: records.map((record) => toRecordResponse(record, caller)),
        next_cursor: next,
      };
    },
  }),

  route({
    method: "GET",
    path: "/audit/{id}",
    auth: "own",
    roles: ["admin", "auditor", "owner"],
    summary: "One record of the audit log",
    response: () => z.object({ success: z.literal(true), record: recordSchema() }),
    async handle(call) {
      const { params, caller } = call;
      const agentIds = caller.kind === "agent" && !caller.seesAll ? [caller.id] : undefined;
      const record = isRecordId(params.id) && (await withArchive(findRecord(logOf(call), params.id, agentIds)));
      if (!record || !(await mayRead(call, record))) throw notFound("The record");
      recordReading(call, "audit.read", {});
      return { success: true, record: toRecordResponse(record, caller) };
    },
  }),
];
