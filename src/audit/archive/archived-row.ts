import type { RecordRow } from "../store/records.ts";

/** A row of `records`, as it is archived. */
export type ArchivedRow = RecordRow;

/** What a line does not say. */
const EMPTY: ArchivedRow = {
  agent_id: "",
  id: "",
  part: 1,
  at: 0,
  action: "gateway.call",
  outcome: "unknown",
  actor_type: null,
  actor_id: null,
  actor_name: null,
  act: null,
  ip_address: null,
  request_id: null,
  key_id: null,
  session_id: null,
  service: null,
  method: null,
  path: null,
  rule: null,
  permission: null,
  status: null,
  upstream_status: null,
  duration_ms: null,
  bytes_in: null,
  bytes_out: null,
  count: null,
  before: null,
  after: null,
  message: null,
  random: "",
  intent_random: null,
};

/** What a row of the database has besides, which says nothing outside of it. */
interface OwnColumns {
  readonly batch?: string;
  readonly is_counted?: number;
}

/** A record as a line of JSON, without what is null. */
export function toLine({ batch: _batch, is_counted: _isCounted, ...row }: ArchivedRow & OwnColumns): string {
  return JSON.stringify(Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)));
}

/** The record of such a line. */
export const fromLine = (line: string): ArchivedRow => ({ ...EMPTY, ...(JSON.parse(line) as Partial<ArchivedRow>) });

/** Compares two rows by their ids and, of one id, by their parts. */
export const compareRows = (a: ArchivedRow, b: ArchivedRow): number =>
  a.id < b.id
    ? -1
    : a.id > b.id
      ? 1
      : a.part - b.part || (a.agent_id < b.agent_id ? -1 : a.agent_id > b.agent_id ? 1 : 0);
