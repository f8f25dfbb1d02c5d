import { ConnectionError, errorOf, type AgentAuthError } from "./errors.ts";

/** What is needed of a `fetch`. */
export type Fetch = (input: string, init?: RequestInit) => Promise<Response>;

export interface Transport {
  /** Normalised, without a slash at its end. */
  readonly baseUrl: string;
  readonly fetch: Fetch;
  readonly maxRetries: number;
  /** Milliseconds for each attempt. */
  readonly timeout: number;
  /** Ends everything that is under way. */
  readonly closed: AbortSignal;
}

export interface ApiCall {
  readonly method: string;
  readonly path: string;
  /** The query of a GET, the body of any other. */
  readonly data?: object | undefined;
  readonly token?: string | undefined;
  /** Whether the same request may be sent again where nobody knows what became of the first. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
/** Who is told to wait longer than this decides for itself whether to. */
const LONGEST_RETRY_AFTER_SECONDS = 60;

/**
 * One call of AgentAuth's own endpoints: sent again, after exponential waits with full jitter, where that is safe.
 *
 * @throws {AgentAuthError}
 */
export async function send<Answer>(transport: Transport, call: ApiCall): Promise<Answer> {
  const { closed, maxRetries } = transport;
  const signals = [call.signal ?? closed, closed];
  for (let attempt = 0; ; attempt++) {
    try {
      return (await once(transport, call, signals)) as Answer;
    } catch (error) {
      const { status, cause, retryAfter = 0 } = (error ?? {}) as Partial<AgentAuthError>;
      // A refusal for its rate was not acted upon, nor what was never sent: that may be sent again whatever it is.
      const isSafe = status === 429 || NEVER_SENT.test(reasonOf(cause));
      const isTransient = status === 0 || status! >= 500;
      if (!isSafe && !(isTransient && call.repeatable)) throw error;
      if (attempt >= maxRetries || retryAfter > LONGEST_RETRY_AFTER_SECONDS) throw error;
      // Those who were told the same second come back spread over the next.
      const jittered = Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
      await within(signals, () => new Promise(() => {}), retryAfter * 1000 + jittered);
    }
  }
}

async function once(
  { baseUrl, timeout, fetch }: Transport,
  { method, path, token, data }: ApiCall,
  signals: readonly AbortSignal[],
): Promise<unknown> {
  const body = method === "GET" ? undefined : JSON.stringify(data);
  const url = baseUrl + path + (body === undefined ? search(data) : "");
  const headers = {
    accept: "application/json",
    ...(body && { "content-type": "application/json" }),
    ...(token && { authorization: bearer(token) }),
  };
  const asked = async (signal: AbortSignal): Promise<[Response, string]> => {
    const response = await fetch(url, { method, headers, redirect: "manual", signal, ...(body && { body }) });
    return [response, await response.text()];
  };
  const answered = await within(signals, asked, timeout).catch((cause: unknown) => {
    for (const one of signals) one.throwIfAborted();
    const message = `${baseUrl} could not be reached (${reasonOf(cause)}). Is AgentAuth running there? Is baseUrl right?`;
    throw new ConnectionError({ status: 0, code: "connection_failed", message }, { cause });
  });
  if (!answered) {
    const message = `${baseUrl} did not answer within ${timeout / 1000} seconds. Try again, or raise timeout.`;
    throw new ConnectionError({ status: 0, code: "timeout", message });
  }
  const [response, text] = answered;
  const answer = parsed(text);
  // Health answers 503 with an object of its own, which is no error's.
  if (Object(answer) === answer && (response.ok || "database" in (answer as object))) return answer;
  throw errorOf(response, answer, url);
}

/** Whatever the token is, for what no header can hold is quoted in an error's message. */
export const bearer = (token: string): string => `Bearer ${encodeURI(token)}`;

function search(query: object | undefined): string {
  // JSON leaves out what is undefined.
  const text = String(new URLSearchParams(query && (JSON.parse(JSON.stringify(query)) as Record<string, string>)));
  return text && `?${text}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** No connection was made at all (the codes of Node and Bun). */
const NEVER_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ConnectionRefused/;

function reasonOf(cause: unknown): string {
  const { code, cause: inner, message } = (cause ?? {}) as { code?: unknown; cause?: unknown; message?: unknown };
  return typeof code === "string" ? code : inner ? reasonOf(inner) : String(message);
}

/** Longer than anything here; a timer can be about twice as long. */
const NO_LIMIT_MS = 1e9;

/**
 * What the work comes to; nothing once the time is up; at once the reason of a signal that is aborted. Leaves nothing behind at
 * the signals, which may live for long: `AbortSignal.any` and `AbortSignal.timeout` do.
 */
export function within<T>(
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
    for (const one of signals) {
      one.addEventListener("abort", stop);
      if (one.aborted) stop();
    }
    work(inner.signal).then(resolve, reject);
  }).finally(() => {
    clearTimeout(timer);
    for (const one of signals) one.removeEventListener("abort", stop);
  });
}
