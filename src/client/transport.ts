import { ConnectionError, errorOf, type AgentAuthError } from "./errors.ts";

export interface Transport {
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
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
  const { signal = transport.closed } = call;
  const given = AbortSignal.any([signal, transport.closed]);
  for (let attempt = 0; ; attempt++) {
    const outcome = await once<Answer>(transport, call, given);
    if ("answer" in outcome) return outcome.answer;
    const { error, again } = outcome;
    if (!again || attempt >= transport.maxRetries) throw error;
    const wait = waitMs(attempt, error);
    if (wait === undefined) throw error;
    await pause(wait, given);
  }
}

type Outcome<Answer> = { answer: Answer } | { error: AgentAuthError; again: boolean };

async function once<Answer>(transport: Transport, call: ApiCall, given: AbortSignal): Promise<Outcome<Answer>> {
  const { method, token, data } = call;
  const body = method === "GET" ? undefined : JSON.stringify(data);
  const url = transport.baseUrl + call.path + (body === undefined ? search(data) : "");
  const timeout = AbortSignal.timeout(transport.timeout);
  let response: Response;
  let text: string;
  try {
    response = await transport.fetch(url, {
      method,
      headers: {
        accept: "application/json",
        ...(body && { "content-type": "application/json" }),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      redirect: "manual",
      signal: AbortSignal.any([given, timeout]),
      ...(body && { body }),
    });
    text = await response.text();
  } catch (cause) {
    given.throwIfAborted();
    return { error: noAnswer(url, transport, timeout.aborted, cause), again: neverSent(cause) || call.repeatable };
  }
  const answer = parsed(text);
  const isObject = typeof answer === "object" && answer !== null;
  // Health answers 503 with an object of its own, which is no error's.
  if (isObject && (response.ok || "database" in answer)) return { answer: answer as Answer };
  const error = errorOf(response, answer, url);
  const { status } = response;
  // A refusal for its rate was not acted upon: it may be sent again whatever it is.
  return { error, again: status === 429 || (status >= 500 && call.repeatable) };
}

function search(query: object | undefined): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  return pairs.length > 0 ? `?${new URLSearchParams(pairs)}` : "";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether no connection was made at all (the codes of Node, Deno and Bun). */
function neverSent(cause: unknown): boolean {
  return /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ConnectionRefused/.test(codeOf(cause) ?? "");
}

function codeOf(cause: unknown): string | undefined {
  const { code, cause: inner } = (cause ?? {}) as { code?: unknown; cause?: unknown };
  return typeof code === "string" ? code : inner === undefined ? undefined : codeOf(inner);
}

function rootOf(cause: unknown): string {
  const { cause: inner, message } = (cause ?? {}) as { cause?: unknown; message?: unknown };
  return inner === undefined ? String(message) : rootOf(inner);
}

function noAnswer(url: string, { timeout }: Transport, late: boolean, cause: unknown): AgentAuthError {
  const { origin } = new URL(url);
  const why = codeOf(cause) ?? rootOf(cause);
  const message = late
    ? `${origin} did not answer within ${timeout / 1000} seconds.`
    : `${origin} could not be reached (${why}). Is AgentAuth running there, and is baseUrl right?`;
  return new ConnectionError({ status: 0, code: late ? "timeout" : "connection_failed", message }, { cause });
}

export const closedError = (): AgentAuthError =>
  new ConnectionError({ status: 0, code: "closed", message: "The client is closed." });

function waitMs(attempt: number, error: AgentAuthError): number | undefined {
  const asked = error.retryAfter ?? 0;
  if (asked > LONGEST_RETRY_AFTER_SECONDS) return undefined;
  const jittered = Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  // Those who were told the same second come back spread over the next.
  return asked * 1000 + jittered;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop);
  });
}
