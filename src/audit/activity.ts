import { RECORD_ID_PREFIX } from "../outbox/record.ts";
import { isByOther, type AuditRecord } from "./audit-record.ts";

/** One thing that an agent did, or that was done to it: a record of the audit log as the published clients know it. */
export interface Activity {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /** Somebody else did it to the agent, so the address is not the agent's own. */
  readonly byOther: boolean;
}

export interface ActivityQuery {
  readonly limit: number;
  readonly offset: number;
  readonly agentId?: string | undefined;
  readonly status?: "success" | "failure" | undefined;
  /** Only activity that is older than the one with this id. */
  readonly before?: string | undefined;
}

export interface ActivityPage {
  /** The newest first, and one more than the limit if there are more. */
  readonly activities: Activity[];
  readonly total: number;
  readonly agentExists: boolean;
}

/** Activity has the ids of its records, with a prefix of its own, which is as old as the first clients. */
export const ACTIVITY_ID_PREFIX = "act_";

/** The id of the record behind an activity. */
export const toRecordId = (activityId: string): string =>
  RECORD_ID_PREFIX + activityId.slice(ACTIVITY_ID_PREFIX.length);

/** The longest message of an activity, in characters. */
const MAX_MESSAGE_LENGTH = 500;

/** Returns a record as activity. */
export function toActivity(record: AuditRecord): Activity {
  return {
    id: ACTIVITY_ID_PREFIX + record.id.slice(RECORD_ID_PREFIX.length),
    agentId: record.agentId ?? "",
    at: record.at,
    ipAddress: record.ipAddress ?? "",
    status: record.outcome === "success" ? "success" : "failure",
    message: toMessage(record)?.slice(0, MAX_MESSAGE_LENGTH) ?? null,
    byOther: isByOther(record),
  };
}

/** A call is told from the record's fields; of anything else the message says what happened. */
function toMessage(record: AuditRecord): string | null {
  const { action, service, method, path } = record;
  if (method === null || path === null) return record.message;
  if (action === "gateway.call") return `${service} ${method} ${path} → ${toResult(record)}`;
  const times = record.count === null || record.count === 1 ? "" : ` (${record.count} times)`;
  return action === "request.refused" ? `${method} ${path} → ${toResult(record)}${times}` : record.message;
}

function toResult({ outcome, permission, upstreamStatus, status, message }: AuditRecord): string {
  if (outcome === "denied" && message === null && permission !== null) {
    return `denied, needs ${permission.split(" ").join(" and ")}`;
  }
  if (upstreamStatus !== null) return message === null ? `${upstreamStatus}` : `${upstreamStatus}, ${message}`;
  if (outcome === "unknown") return message ?? "not known";
  return message ?? `${status}`;
}
