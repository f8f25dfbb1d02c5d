import type { Action, Outcome } from "../outbox/record.ts";
import { firstRecordIdAt, type IdRange } from "./audit-record.ts";
import type { RecordRow } from "./store/records.ts";

/** Which records are wanted. All that is given has to apply. */
export interface RecordFilter {
  /** The agents that the record is about, each once; undefined: of anybody, and of no agent. */
  readonly agentIds?: readonly string[] | undefined;
  /** The id of who did it, or its type if it has no id. */
  readonly actor?: string | undefined;
  readonly action?: Action | undefined;
  readonly outcome?: Outcome | undefined;
  readonly service?: string | undefined;
  readonly method?: string | undefined;
  /** The beginning of the path. */
  readonly path?: string | undefined;
  /** One of the permissions that the request needed. */
  readonly permission?: string | undefined;
  readonly keyId?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly ip?: string | undefined;
  /** Milliseconds: at this time or later. */
  readonly from?: number | undefined;
  /** Milliseconds: before this time. */
  readonly to?: number | undefined;
  /** A part of the message, the path, the actor's name, or of what a change was from or to. ASCII letters in either case. */
  readonly q?: string | undefined;
  /**
   * Only what `isByOther` says that this reader sees the address of: for filters whose answer would tell the reader what they do not see.
   */
  readonly addressSeenBy?: string | undefined;
}

/** A request that is recorded may have begun up to so long before its record, in milliseconds: its body is read first. */
const MAX_REQUEST_MS = 900_000;

/** The time in the id of a request, which is a UUIDv7 (RFC 9562 §5.7), in milliseconds; undefined for another id. */
function timeOfRequestId(requestId: string): number | undefined {
  const [, high, low] = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-/.exec(requestId) ?? [];
  return high === undefined ? undefined : parseInt(high + low, 16);
}

/** The ids that a filter can find. */
export function rangeOf({ from, to, requestId }: RecordFilter, cursor?: string): IdRange {
  const requestedAt = requestId === undefined ? undefined : timeOfRequestId(requestId);
  const least = Math.max(0, from ?? 0, requestedAt ?? 0);
  const most = Math.min(MAX_TIME, to ?? MAX_TIME, requestedAt === undefined ? MAX_TIME : requestedAt + MAX_REQUEST_MS);
  const [fromId, toId] = [firstRecordIdAt(least), firstRecordIdAt(Math.max(0, most))];
  return { fromId, beforeId: cursor !== undefined && cursor < toId ? cursor : toId };
}

/** The greatest time that an id has room for. */
const MAX_TIME = 0xffff_ffff_ffff;

/** Lower case as SQLite's `lower` makes it: of ASCII letters only. */
export const toLowerAscii = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/** What `q` searches, as one text. */
const searchedText = ({ message, path, actor_name, before, after }: RecordRow): string =>
  [message, path, actor_name, before, after].map((one) => one ?? "").join("\n");

/** Whether a filter wants a record, its id apart. The database answers the same by `conditionsOf` in store/search.ts. */
export function matchesFilter(filter: RecordFilter, row: RecordRow): boolean {
  const { agentIds, actor, permission, path, q, addressSeenBy } = filter;
  const equal: readonly (readonly [string | undefined, string | null])[] = [
    [filter.action, row.action],
    [filter.outcome, row.outcome],
    [filter.service, row.service],
    [filter.method, row.method],
    [filter.keyId, row.key_id],
    [filter.sessionId, row.session_id],
    [filter.requestId, row.request_id],
    [filter.ip, row.ip_address],
  ];
  return (
    equal.every(([wanted, found]) => wanted === undefined || wanted === found) &&
    (agentIds === undefined || agentIds.includes(row.agent_id)) &&
    (actor === undefined || (row.actor_id ?? row.actor_type) === actor) &&
    (permission === undefined || (row.permission ?? "").split(" ").includes(permission)) &&
    (path === undefined || (row.path ?? "").startsWith(path)) &&
    (q === undefined || toLowerAscii(searchedText(row)).includes(toLowerAscii(q))) &&
    (addressSeenBy === undefined ||
      row.actor_type === null ||
      row.actor_id === row.agent_id ||
      row.actor_id === addressSeenBy)
  );
}
