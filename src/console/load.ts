import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { refusals, RequestError } from "./request.ts";

/** What of a screen was loaded. What was there stays while it is loaded again, and if that fails. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: RequestError | undefined;
  readonly isLoading: boolean;
  /** Loads it again. */
  reload(): void;
  /** Puts in place what a change has answered. */
  set(data: T): void;
}

export const asRequestError = (error: unknown): RequestError =>
  error instanceof RequestError
    ? error
    : new RequestError(`The page failed: ${(error as Error).message}`, { code: "page" });

/**
 * Loads what a screen shows, again whenever `key` changes, when what is loaded for a former key is gone, and whenever a change was refused
 * because the screen was outdated.
 *
 * @param everyMs loads it again so often while the page is seen.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, everyMs?: number): Loaded<T> {
  const [state, setState] = useState<{
    key: string;
    data?: T | undefined;
    error?: RequestError | undefined;
    isLoading: boolean;
  }>({
    key,
    isLoading: true,
  });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const ended = new AbortController();
    setState((was) => (was.key === key ? { ...was, isLoading: true } : { key, isLoading: true }));
    latest
      .current(ended.signal)
      .then((data) => !ended.signal.aborted && setState({ key, data, isLoading: false }))
      .catch((error: unknown) => {
        if (ended.signal.aborted) return;
        setState((was) => ({
          key,
          data: was.key === key ? was.data : undefined,
          error: asRequestError(error),
          isLoading: false,
        }));
      });
    return () => ended.abort();
  }, [key, turn, refusals.value]);
  const reload = useCallback(() => setTurn((was) => was + 1), []);
  useEvery(everyMs, reload);
  const set = useCallback((data: T) => setState({ key, data, isLoading: false }), [key]);
  const isOf = state.key === key;
  return {
    data: isOf ? state.data : undefined,
    error: isOf ? state.error : undefined,
    isLoading: !isOf || state.isLoading,
    reload,
    set,
  };
}

/** Runs something again and again while the page is seen. @param everyMs undefined: never. */
export function useEvery(everyMs: number | undefined, run: () => void): void {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (everyMs === undefined) return undefined;
    const timer = setInterval(() => document.visibilityState === "visible" && latest.current(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
}

/** A page of a list. */
export interface ListPage<Row> {
  readonly rows: readonly Row[];
  readonly next: string | null;
  /** What the first page says of the whole list. */
  readonly total?: number;
}

export interface LoadedList<Row> extends Loaded<ListPage<Row>> {
  /** Adds the next page. */
  more(): Promise<void>;
  readonly isLoadingMore: boolean;
}

/** Loads a list by its cursor, page after page. Loaded again, it begins with its first page. */
export function useList<Row>(
  key: string,
  load: (cursor: string | undefined, signal?: AbortSignal) => Promise<ListPage<Row>>,
  everyMs?: number,
): LoadedList<Row> {
  const first = useLoad(key, (signal) => load(undefined, signal), everyMs);
  const [isLoadingMore, setLoadingMore] = useState(false);
  return {
    ...first,
    isLoadingMore,
    async more() {
      const { data } = first;
      if (!data?.next || isLoadingMore) return;
      setLoadingMore(true);
      try {
        const page = await load(data.next);
        first.set({ ...data, rows: [...data.rows, ...page.rows], next: page.next });
      } finally {
        setLoadingMore(false);
      }
    },
  };
}

/** What a button does: once at a time, with its fault kept beside it. */
export interface Action {
  run(): Promise<void>;
  readonly isRunning: boolean;
  readonly error: RequestError | undefined;
}

export function useAction(work: () => Promise<unknown>): Action {
  const [isRunning, setRunning] = useState(false);
  const [error, setError] = useState<RequestError>();
  const busy = useRef(false);
  return {
    isRunning,
    error,
    async run() {
      if (busy.current) return;
      busy.current = true;
      setRunning(true);
      setError(undefined);
      try {
        await work();
      } catch (fault) {
        setError(asRequestError(fault));
      } finally {
        busy.current = false;
        setRunning(false);
      }
    },
  };
}
