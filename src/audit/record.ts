import type { Actor } from "../authority/actor-row.ts";
import { timeOrderedId } from "../crypto/random.ts";
import type { Event } from "../outbox/event.ts";
import type { RecordOrigin } from "../outbox/record.ts";
import { ACTIVITY_ID_PREFIX, MAX_MESSAGE_LENGTH } from "./activity.ts";
import { toEntry, type FormerActivity } from "./former.ts";
import { sendRecords, type RecordMessage } from "./message.ts";

type AuditEnv = Parameters<typeof sendRecords>[0];

/** One activity as a line of text, which becomes a record. */
export interface ActivityLine extends Omit<FormerActivity, "id"> {
  readonly event?: Event;
  /** A stranger has named the agent. */
  readonly known?: boolean;
}

/**
 * Records one activity behind the answer. Never rejects.
 *
 * @param origin what the record says of the request, beside the address.
 */
export const recordActivity = (env: AuditEnv, line: ActivityLine, origin: Partial<RecordOrigin> = {}): Promise<void> =>
  sendRecords(env, [toRecordMessage(line, origin)]);

/** Records the same activity of many agents behind the answer. Never rejects. */
export const recordActivities = (
  env: AuditEnv,
  agentIds: readonly string[],
  line: Omit<ActivityLine, "agentId">,
  origin: Partial<RecordOrigin> = {},
): Promise<void> =>
  sendRecords(
    env,
    agentIds.map((agentId) => toRecordMessage({ ...line, agentId }, origin)),
  );

function toRecordMessage(
  { event, known = true, ...line }: ActivityLine,
  origin: Partial<RecordOrigin>,
): Omit<RecordMessage, "kind"> {
  const message = line.message?.slice(0, MAX_MESSAGE_LENGTH) ?? null;
  const entry = toEntry({ ...line, message, id: timeOrderedId(ACTIVITY_ID_PREFIX, line.at) }, origin);
  return { entry, ...(event && { event }), ...(!known && { isUnproven: true }) };
}

/** Who called: an agent, a person, or the registrar of an agent. */
type By =
  | { readonly agent: { readonly id: string; readonly name: string } }
  | { readonly kind: "person"; readonly id: string; readonly name: string }
  | { readonly kind: "stranger" | "bootstrap" }
  | { readonly kind: "agent"; readonly authority: { readonly agentId: string } };

/** The parts of a request that its records tell. */
export interface AuditContext {
  readonly caller?: By | undefined;
  readonly env: AuditEnv;
  readonly now: number;
  readonly ipAddress: string;
  readonly requestId: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

interface More {
  readonly status?: "failure";
  readonly event?: Event;
  /** False for an agent that a stranger has named. */
  readonly known?: boolean;
  /** The key that the agent has verified itself with. */
  readonly keyId?: string;
}

/** Records what an agent did, or what was done to it, in this request. The response does not wait for it. */
export function recordInBackground(
  { env, now, ipAddress, requestId, waitUntil, caller }: AuditContext,
  agentId: string,
  message: string,
  { keyId, ...more }: More = {},
): void {
  const line = { agentId, at: now, ipAddress, status: "success" as const, message, ...more };
  const origin = { requestId, ...(keyId !== undefined && { keyId }), ...(caller && { actor: toActor(caller) }) };
  waitUntil(recordActivity(env, line, origin));
}

/** Who called, as a record names them; null for a stranger. */
export function toActor(caller: By): Actor | null {
  if ("agent" in caller) return { type: "agent", id: caller.agent.id, name: caller.agent.name };
  if (caller.kind === "person") return { type: "person", id: caller.id, name: caller.name };
  if (caller.kind === "agent") return { type: "agent", id: caller.authority.agentId, name: null };
  return caller.kind === "bootstrap" ? { type: "bootstrap", id: null, name: null } : null;
}
