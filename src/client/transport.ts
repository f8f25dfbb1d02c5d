import { ConnectionError, toError, type AgentAuthError } from "./errors.ts";

/** The part of `fetch` that the SDK needs. */
export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

/** The argument of `onRetry`, which is called before each wait. */
export interface Retry {
  readonly method: string;
  /** The path, without its query. */
  readonly path: string;
  /** How many attempts have failed so far; 1 before the first retry. */
  readonly attempt: number;
  /** How many milliseconds the SDK now waits. */
  readonly delay: number;
  /** Why the attempt failed. */
  readonly error: AgentAuthError;
}

export interface Transport {
  /** Normalised, without a trailing slash. */
  readonly baseUrl: string;
  readonly fetch: Fetch;
  readonly maxRetries: number;
  /** The longest wait before a retry, in milliseconds. */
  readonly maxRetryDelay: number;
  readonly onRetry: ((retry: Retry) => void) | undefined;
  /** The time limit of one attempt, in milliseconds. */
  readonly timeout: number;
  /** Whether `fetch` binds the tokens to a key, so that only such tokens are taken. */
  readonly isBound?: boolean | undefined;
  /** Aborted by `close()`; ends every call in flight. */
  readonly closed: AbortSignal;
}

export interface ApiCall {
  readonly method: string;
  readonly path: string;
  /** The query of a GET, the JSON body of any other method, or a form that is made anew for each attempt. */
  readonly data?: object | (() => Promise<URLSearchParams>) | undefined;
  readonly token?: string | undefined;
  /** Sent as `Idempotency-Key`: however often the request is sent, the server carries it out once. */
  readonly idempotencyKey?: string | undefined;
  /** Whether the request may be sent again although the outcome of an earlier attempt is unknown. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called once an attempt was sent and its outcome is unknown, because the response was lost or is a server's error. */
  readonly onOutcomeUnknown?: (() => void) | undefined;
}

const FIRST_RETRY_DELAY_MS = 500;
const MAX_BACKOFF_MS = 8000;

/**
 * Calls one of AgentAuth's own endpoints and resolves with the JSON of the response. Where it is safe, a failed attempt is
 * repeated after an exponential back-off with full jitter, and not before the time that `Retry-After` names.
 *
 * @throws {AgentAuthError} The error of the last attempt.
 */
export async function send<Answer>(transport: Transport, call: ApiCall): Promise<Answer> {
  const { closed, maxRetries, maxRetryDelay, onRetry } = transport;
  const { method, path, repeatable, onOutcomeUnknown } = call;
  const signals = [call.signal ?? closed, closed];
  for (let attempt = 1; ; attempt++) {
    try {
      return (await sendOnce(transport, call, signals)) as Answer;
    } catch (error) {
      const { status, code, cause, retryAfter = 0 } = (error ?? {}) as Partial<AgentAuthError>;
      // The server did not act on a request that it refused for its rate or because an earlier attempt of it is under way, nor on
      // one that never reached it.
      const wasNotActedOn = status === 429 || code === "idempotency_in_flight" || NEVER_SENT.test(reasonOf(cause));
      const isOutcomeUnknown = !wasNotActedOn && (status === 0 || status! >= 500);
      if (isOutcomeUnknown) onOutcomeUnknown?.();
      if (!wasNotActedOn && !(isOutcomeUnknown && repeatable)) throw error;
      if (attempt > maxRetries || retryAfter * 1000 > maxRetryDelay) throw error;
      // The jitter spreads clients that all got the same `Retry-After`.
      const jitter = Math.random() * Math.min(MAX_BACKOFF_MS, FIRST_RETRY_DELAY_MS * 2 ** (attempt - 1));
      const delay = Math.min(retryAfter * 1000 + jitter, maxRetryDelay);
      onRetry?.({ method, path, attempt, delay, error: error as AgentAuthError });
      await withSignals(signals, () => new Promise(() => {}), delay);
    }
  }
}

async function sendOnce(
  { baseUrl, timeout, fetch }: Transport,
  { method, path, token, data: given, idempotencyKey }: ApiCall,
  signals: readonly AbortSignal[],
): Promise<unknown> {
  const isForm = typeof given === "function";
  const data = isForm ? await (given as () => Promise<URLSearchParams>)() : given;
  const body = method === "GET" ? undefined : isForm ? String(data) : JSON.stringify(data);
  const url = baseUrl + path + (body === undefined ? queryString(data) : "");
  const headers = {
    accept: "application/json",
    ...(body && { "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json" }),
    ...(token && { authorization: bearer(token) }),
    ...(idempotencyKey && { "idempotency-key": idempotencyKey }),
  };
  const init = { method, headers, ...(body && { body }) };
  const [response, text] = await fetchWithin({ baseUrl, timeout, fetch }, url, init, signals, readText);
  const answer = parseJson(text);
  // An unhealthy deployment answers 503 with the health object, which is no error.
  if (Object(answer) === answer && (response.ok || "database" in (answer as object))) return answer;
  throw toError(response, answer, url);
}

/**
 * Sends one request, and follows no redirect, which could carry the token elsewhere.
 *
 * @param read what has to be read of the response within the time limit.
 * @throws {ConnectionError} `connection_failed`, or `timeout`.
 */
export async function fetchWithin<T extends object>(
  { baseUrl, timeout, fetch }: Pick<Transport, "baseUrl" | "timeout" | "fetch">,
  url: string,
  init: RequestInit,
  signals: readonly AbortSignal[],
  read: (response: Response) => T | Promise<T>,
): Promise<T> {
  const work = async (signal: AbortSignal): Promise<T> =>
    read(await fetch(url, { ...init, redirect: "manual", signal }));
  const result = await withSignals(signals, work, timeout).catch((cause: unknown) => {
    for (const one of signals) one.throwIfAborted();
    throw connectionFailed(baseUrl, cause);
  });
  if (result) return result;
  const message = `${baseUrl} did not answer within ${timeout / 1000} seconds. Try again, or raise timeout.`;
  throw new ConnectionError({ status: 0, code: "timeout", message });
}

/** Reads all of a response. */
export const readText = async (response: Response): Promise<[Response, string]> => [response, await response.text()];

/** The error for a request that got no response. */
export function connectionFailed(baseUrl: string, cause: unknown): ConnectionError {
  const message = `${baseUrl} could not be reached (${reasonOf(cause)}). Is AgentAuth running there? Is baseUrl right?`;
  return new ConnectionError({ status: 0, code: "connection_failed", message }, { cause });
}

/** The `Authorization` header. Escapes characters that no header can contain, because `fetch` would quote the token in its error. */
export const bearer = (token: string): string => `Bearer ${encodeURI(token)}`;

function queryString(query: object | undefined): string {
  // JSON leaves out properties that are undefined.
  const text = String(new URLSearchParams(query && (JSON.parse(JSON.stringify(query)) as Record<string, string>)));
  return text && `?${text}`;
}

/** The value of a JSON text; undefined for any other text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The codes with which Node and Bun say that no connection was made at all. */
const NEVER_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ConnectionRefused/;

/** The code, or else the message, of the innermost cause. */
function reasonOf(error: unknown): string {
  const { code, cause, message } = (error ?? {}) as { code?: unknown; cause?: unknown; message?: unknown };
  return typeof code === "string" ? code : cause ? reasonOf(cause) : String(message);
}

/** Longer than any wait of the SDK, and half of the longest delay that a timer can have. */
const NO_LIMIT_MS = 1e9;

/**
 * Resolves with what the work resolves with, or with undefined once the time is up. Rejects with a signal's reason as soon
 * as it is aborted. Leaves no listener at the signals, which may live much longer than the work: `AbortSignal.any` and
 * `AbortSignal.timeout` leave theirs.
 */
export function withSignals<T>(
  signals: readonly AbortSignal[],
  work: (signal: AbortSignal) => Promise<T>,
  ms = NO_LIMIT_MS,
): Promise<T | undefined> {
  const inner = new AbortController();
  let stop: () => void;
  let timer: ReturnType<typeof setTimeout>;
  return new Promise<T | undefined>((resolve, reject) => {
    stop = () => {
      const ended = signals.find(({ aborted }) => aborted);
      if (ended) reject(ended.reason as Error);
      else resolve(undefined);
      inner.abort();
    };
    timer = setTimeout(stop, ms);
    for (const one of signals) addStop(one, stop);
    work(inner.signal).then(resolve, reject);
  }).finally(() => {
    clearTimeout(timer);
    for (const one of signals) removeStop(one, stop);
  });
}

interface Listening {
  readonly stops: Set<() => void>;
  readonly listener: () => void;
}

/** One listener for each signal, however many calls wait for it: Node warns of a leak from the eleventh on. */
const listening = new WeakMap<AbortSignal, Listening>();

function addStop(signal: AbortSignal, stop: () => void): void {
  if (signal.aborted) stop();
  let entry = listening.get(signal);
  if (!entry) {
    const stops = new Set<() => void>();
    const listener = (): void => {
      for (const one of stops) one();
    };
    entry = { stops, listener };
    listening.set(signal, entry);
    signal.addEventListener("abort", listener);
  }
  entry.stops.add(stop);
}

function removeStop(signal: AbortSignal, stop: () => void): void {
  const entry = listening.get(signal);
  if (!entry) return;
  entry.stops.delete(stop);
  if (entry.stops.size > 0) return;
  signal.removeEventListener("abort", entry.listener);
  listening.delete(signal);
}
