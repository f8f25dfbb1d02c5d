import type { AuditRecord, AuditResponse } from "../client/wire.ts";
import { useEvery, useList, type ListPage, type LoadedList } from "./load.ts";
import { useRef, useState } from "preact/hooks";
import { addNewest, withoutOwnReadings, type RecordFilter } from "./records.ts";
import { read } from "./request.ts";
import { me } from "./state.ts";

/** How often the newest records are read, in milliseconds. */
const LIVE_MS = 4000;
/** Whoever has left the page open is not read for after this time, in milliseconds. */
const MAX_LIVE_MS = 30 * 60_000;

export interface LiveRecords extends LoadedList<AuditRecord> {
  readonly isLive: boolean;
  setLive(isLive: boolean): void;
  /** The ids of what has come since the list was opened. */
  readonly fresh: ReadonlySet<string>;
}

/** A page of the log, the newest first. */
async function listRecords(
  filter: RecordFilter,
  cursor?: string,
  signal?: AbortSignal,
): Promise<ListPage<AuditRecord>> {
  const page = await read<AuditResponse>("/audit", { limit: 50, ...filter, cursor }, signal);
  return { rows: withoutOwnReadings(page.records, filter, me.value?.id), next: page.next_cursor };
}

/** A list of records that new ones are added to while it is seen, until it is paused. */
export function useLiveRecords(key: string, filter: RecordFilter): LiveRecords {
  const list = useList(key, (cursor, signal) => listRecords(filter, cursor, signal));
  const [isLive, setLive] = useState(true);
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const since = useRef(Date.now());
  const busy = useRef(false);
  useEvery(isLive ? LIVE_MS : undefined, () => {
    if (Date.now() - since.current > MAX_LIVE_MS) setLive(false);
    const { data } = list;
    if (!data || busy.current) return;
    busy.current = true;
    void listRecords(filter)
      .then(({ rows }) => {
        const next = addNewest(data.rows, rows);
        if (next === data.rows) return;
        const known = new Set(data.rows.map(({ id }) => id));
        setFresh(new Set(rows.map(({ id }) => id).filter((id) => !known.has(id))));
        list.set({ ...data, rows: next });
      })
      .catch(() => undefined)
      .finally(() => (busy.current = false));
  });
  return {
    ...list,
    isLive,
    fresh,
    setLive(next) {
      since.current = Date.now();
      setLive(next);
    },
  };
}
