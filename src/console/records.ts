import type { AuditRecord } from "../client/wire.ts";
import { changeInWords } from "./changes.ts";
import { shortId } from "./text.ts";

/** The filters of the log, which stand in the address as the API names them. */
export const FILTERS = [
  "q",
  "agent_id",
  "actor",
  "action",
  "outcome",
  "service",
  "method",
  "path",
  "permission",
  "key_id",
  "session_id",
  "request_id",
  "ip",
  "from",
  "to",
] as const;

export type RecordFilter = Partial<Record<(typeof FILTERS)[number], string>>;

/**
 * Records without those of the person's own readings of the log, of which a screen that shows it live makes one a minute.
 * Whoever filters by `audit.read` is shown them.
 */
export const withoutOwnReadings = (
  records: readonly AuditRecord[],
  { action }: RecordFilter,
  personId: string | undefined,
): readonly AuditRecord[] =>
  action === "audit.read"
    ? records
    : records.filter((record) => record.action !== "audit.read" || record.actor?.id !== personId);

/** What a record tells, in one line. */
export function detailOf({ method, service, path, message, count, before, after }: AuditRecord): string {
  const called = [method, service, path].filter((one) => one !== null).join(" ");
  const changed = after ? changeInWords(before, after) : "";
  const said = called || changed || message || "";
  return count !== null && count > 1 ? `${said}, ${count} times` : said;
}

/** Who did what a record tells of: a name, or an id in short; all of it stands in the record. */
export const actorOf = ({ actor, agent_id }: AuditRecord): string =>
  actor === null
    ? "A stranger"
    : (actor.name ?? shortId(actor.id ?? (actor.type === "system" ? "AgentAuth" : (agent_id ?? actor.type))));

export const OUTCOME_TONES = { success: "good", denied: "bad", failed: "warn", unknown: "warn" } as const;

/** Puts the newest records above those that are known. Returns the known ones themselves if nothing is new. */
export function addNewest(known: readonly AuditRecord[], newest: readonly AuditRecord[]): readonly AuditRecord[] {
  const ids = new Set(newest.map(({ id }) => id));
  const isNew = newest.some(
    (record) => !known.some(({ id, outcome }) => id === record.id && outcome === record.outcome),
  );
  return isNew ? [...newest, ...known.filter(({ id }) => !ids.has(id))] : known;
}

/** What is typed into the search is an id if it looks like one, and otherwise a part of a text. */
export function searchedFilter(text: string): RecordFilter {
  if (/^agt_\w+$/.test(text)) return { agent_id: text };
  if (/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)) return { request_id: text };
  return { q: text };
}
