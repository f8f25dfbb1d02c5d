import { integer, prepare, sql, type Sql } from "../database/sql.ts";
import type { ChangedRow } from "./change.ts";
import { MAX_EVENTS_PER_MINUTE, type Event, type EventCount, type EventName } from "./event.ts";
import { isObject } from "../validation/is-object.ts";

/** For each table whose changes have events: the row of the change. */
const FIND_CHANGED: Readonly<Record<ChangedRow["table"], (id: string, changeId: string) => Sql>> = {
  activity: (id, changeId) => sql`SELECT 1 FROM activity WHERE id = ${id} AND batch = ${changeId}`,
  // A record with a count is no event of its own.
  audit_outbox: (agentId, recordId) =>
    sql`SELECT 1 FROM audit_outbox WHERE agent_id = ${agentId} AND id = ${recordId} AND entry ->> 'count' IS NULL`,
  agents: (id, changeId) => sql`SELECT 1 FROM agents WHERE id = ${id} AND change_id = ${changeId}`,
  api_keys: (id, changeId) => sql`SELECT 1 FROM api_keys WHERE id = ${id} AND change_id = ${changeId}`,
  refresh_families: (id, changeId) => sql`SELECT 1 FROM refresh_families WHERE id = ${id} AND change_id = ${changeId}`,
  sessions: (id, changeId) => sql`SELECT 1 FROM sessions WHERE id = ${id} AND change_id = ${changeId}`,
  capped_sessions: (agentId, changeId) =>
    sql`SELECT 1 FROM sessions WHERE agent_id = ${agentId} AND change_id = ${changeId}`,
  webhooks: (id, changeId) => sql`SELECT 1 FROM webhooks WHERE id = ${id} AND change_id = ${changeId}`,
};

/** SQL for the row of a change, if the change happened. */
export const findChanged = ({ table, id, changeId }: ChangedRow): Sql => FIND_CHANGED[table](id, changeId);

/** The statement that inserts an event if the row has the change's id. An event that exists already stays as it is. */
export function insertEventOf(
  db: D1Database,
  { id, agentId, name, at, data }: Event,
  change: ChangedRow,
): D1PreparedStatement {
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
      SELECT ${id}, ${agentId}, ${name}, ${at}, ${JSON.stringify(data)}
      WHERE EXISTS (${findChanged(change)})`,
  );
}

/** The statement that inserts an event of a session's agent, if the session has the change's id. */
export function insertEventOfSession(
  db: D1Database,
  { id, name, at, data }: Event,
  { id: sessionId, changeId }: Omit<ChangedRow, "table">,
): D1PreparedStatement {
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
      SELECT ${id}, agent_id, ${name}, ${at}, json_set(${JSON.stringify(data)}, '$.agent_id', agent_id)
      FROM sessions WHERE id = ${sessionId} AND change_id = ${changeId}`,
  );
}

/** The statement that inserts events, each if its agent has the change's id. */
export function insertEventsOfAgents(db: D1Database, events: readonly Event[], changeId: string): D1PreparedStatement {
  const json = JSON.stringify(events.map(({ id, agentId, name, at, data }) => ({ id, agentId, name, at, data })));
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
      SELECT e.value ->> 'id', a.id, e.value ->> 'name', e.value ->> 'at', e.value -> 'data'
      FROM json_each(${json}) e CROSS JOIN agents a ON a.id = e.value ->> 'agentId' AND a.change_id = ${changeId}`,
  );
}

/** The statement that inserts events, whatever has happened. */
export function insertEventsByThemselves(db: D1Database, events: readonly Event[]): D1PreparedStatement {
  const json = JSON.stringify(events.map(({ id, agentId, name, at, data }) => ({ id, agentId, name, at, data })));
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
      SELECT value ->> 'id', value ->> 'agentId', value ->> 'name', value ->> 'at', value -> 'data' FROM json_each(${json})`,
  );
}

/** Enough of an event to say in a log which one it is. */
export type EventReference = Pick<Event, "id" | "agentId" | "name">;

/** A part of the outbox, the oldest first. */
export interface WaitingEvents {
  readonly events: readonly Event[];
  /** Events whose data is not a JSON object. */
  readonly unreadable: readonly EventReference[];
  /** The id of the last event of the part; undefined if there was none. */
  readonly last: string | undefined;
}

interface EventRow {
  id: string;
  agent_id: string;
  event: EventName;
  at: number;
  data: string;
}

/** The data of an event; undefined if the text is not a JSON object, which the product does not write. */
function parseData(text: string): Event["data"] | undefined {
  try {
    const data: unknown = JSON.parse(text);
    return isObject(data) ? data : undefined;
  } catch {
    return undefined;
  }
}

/** The oldest events that wait in the outbox after the one with this id. */
export async function readOldestEvents(db: D1Database, after: string, limit: number): Promise<WaitingEvents> {
  const select = sql`SELECT id, agent_id, event, at, data FROM events WHERE id > ${after} ORDER BY id LIMIT ${limit}`;
  const { results } = await prepare(db, select).all<EventRow>();
  const [events, unreadable]: [Event[], EventReference[]] = [[], []];
  for (const { id, agent_id: agentId, event: name, at, data: text } of results) {
    const data = parseData(text);
    if (data) events.push({ id, agentId, name, at, data });
    else unreadable.push({ id, agentId, name });
  }
  return { events, unreadable, last: results.at(-1)?.id };
}

/** Whether any event waits in the outbox. */
export async function hasEvents(db: D1Database): Promise<boolean> {
  return (await prepare(db, sql`SELECT 1 FROM events LIMIT 1`).first()) !== null;
}

/** How many events wait in the outbox, up to `limit`, and since when the oldest of them does, in milliseconds. */
export async function readBacklog(db: D1Database, limit: number): Promise<{ events: number; since: number | null }> {
  const { results } = await prepare(
    db,
    sql`SELECT count(*) AS events, min(at) AS since FROM (SELECT at FROM events ORDER BY id LIMIT ${limit})`,
  ).all<{ events: number; since: number | null }>();
  return results[0]!;
}

/** The statements that move an event out of the outbox, so that it delays no others. */
export const moveAside = (db: D1Database, id: string, reason: string, now: number): D1PreparedStatement[] => [
  prepare(
    db,
    sql`INSERT OR IGNORE INTO events_set_aside (id, agent_id, event, at, data, reason, set_aside_at)
      SELECT id, agent_id, event, at, data, ${reason}, ${now} FROM events WHERE id = ${id}`,
  ),
  deleteEvent(db, id),
];

/** Counts that an event alone could not be handled. Returns how often that has happened; 0 if it waits no more. */
export async function countFailure(db: D1Database, id: string): Promise<number> {
  const update = sql`UPDATE events SET failures = failures + 1 WHERE id = ${id} RETURNING failures`;
  return (await prepare(db, update).first<number>("failures")) ?? 0;
}

/** Deletes up to `limit` events that were set aside before a time, in milliseconds. Returns how many. */
export async function deleteSetAside(db: D1Database, before: number, limit: number): Promise<number> {
  const { meta } = await prepare(
    db,
    sql`DELETE FROM events_set_aside WHERE id IN (
      SELECT id FROM events_set_aside WHERE set_aside_at < ${before} LIMIT ${limit})`,
  ).run();
  return meta.changes;
}

/** The statement that deletes an event from the outbox. */
export const deleteEvent = (db: D1Database, id: string): D1PreparedStatement =>
  prepare(db, sql`DELETE FROM events WHERE id = ${id}`);

const LIMIT = integer(MAX_EVENTS_PER_MINUTE);

/** The statement that counts an event which still waits in the outbox. `since` moves on until the limit is exceeded. */
export function countWaitingEvent(db: D1Database, id: string, minute: number): D1PreparedStatement {
  return prepare(
    db,
    sql`INSERT INTO event_counts (agent_id, event, minute, total, since, at, data)
      SELECT agent_id, event, ${minute}, 1, at, at, data FROM events WHERE id = ${id}
      ON CONFLICT (agent_id, event, minute) DO UPDATE SET total = total + 1, at = excluded.at, data = excluded.data,
        since = iif(total <= ${LIMIT}, excluded.since, since)`,
  );
}

type EventCountRow = Omit<EventRow, "id"> & Pick<EventCount, "minute" | "total" | "since">;

function toEventCount({ agent_id: agentId, event: name, data, ...row }: EventCountRow): EventCount {
  // Without its data, the event still says how many there were.
  return { ...row, agentId, name, data: parseData(data) ?? { agent_id: agentId } };
}

/** The counts above the limit of minutes before this one. At most `limit` counts. */
export async function findExceededCounts(db: D1Database, minute: number, limit: number): Promise<EventCount[]> {
  const { results } = await prepare(
    db,
    sql`SELECT agent_id, event, minute, total, since, at, data FROM event_counts
      WHERE minute < ${minute} AND total > ${LIMIT} LIMIT ${limit}`,
  ).all<EventCountRow>();
  return results.map(toEventCount);
}

/**
 * The statements that replace a count by its event. If two runs do it at once, or the count has grown meanwhile, the second
 * batch finds no such count and writes nothing.
 */
export function replaceCount(
  db: D1Database,
  { agentId, name, minute, total }: EventCount,
  event: Event,
): D1PreparedStatement[] {
  const count = sql`FROM event_counts
    WHERE agent_id = ${agentId} AND event = ${name} AND minute = ${minute} AND total = ${total}`;
  return [
    prepare(
      db,
      sql`INSERT INTO events (id, agent_id, event, at, data)
        SELECT ${event.id}, agent_id, event, at, ${JSON.stringify(event.data)} ${count}`,
    ),
    prepare(db, sql`DELETE ${count}`),
  ];
}

/** Deletes counts within the limit of minutes before this one: each of their events was sent. Returns how many. */
export async function deleteCounts(db: D1Database, minute: number, limit: number): Promise<number> {
  const { meta } = await prepare(
    db,
    sql`DELETE FROM event_counts WHERE (agent_id, event, minute) IN (
      SELECT agent_id, event, minute FROM event_counts WHERE minute < ${minute} AND total <= ${LIMIT} LIMIT ${limit})`,
  ).run();
  return meta.changes;
}
