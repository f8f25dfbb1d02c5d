import { signal } from "@preact/signals";
import { confirmWithPasskey, type AssertionOptions } from "./passkey.ts";

/** What the API says of a request that it refuses. */
interface ErrorBody {
  readonly message?: string;
  readonly error?: string;
  readonly code?: string;
  readonly request_id?: string;
  readonly details?: readonly { readonly field?: string; readonly permission?: string; readonly message: string }[];
  readonly assertion?: AssertionOptions;
}

/** Why a request was not carried out, in words for the person. */
export class RequestError extends Error {
  /** Of the API's closed list, or `unreachable`, `not_confirmed` or `not_json`. */
  readonly code: string;
  readonly status: number;
  readonly requestId: string | undefined;
  readonly details: NonNullable<ErrorBody["details"]>;

  constructor(
    message: string,
    { code = "unknown", status = 0, body }: { code?: string; status?: number; body?: ErrorBody },
  ) {
    super(message);
    this.code = code;
    this.status = status;
    this.requestId = body?.request_id;
    this.details = body?.details ?? [];
  }
}

/** Whether the last request reached the deployment. Offline, what is on the screen stays, and the frame says so. */
export const isOnline = signal(true);

/** What says that the screen was not how things are: somebody else has changed them, or they are gone. */
const OUTDATED: ReadonlySet<string> = new Set(["agent_changed", "agent_revoked", "grants_changed", "not_found"]);
export const isOutdated = (error: RequestError): boolean => OUTDATED.has(error.code);

/** Why the last change was refused, if the screen was outdated. The frame says it, also where what it was about has gone. */
export const outdated = signal<RequestError | undefined>(undefined);
/** Counts such refusals: whatever is on the screen is read again after each. */
export const refusals = signal(0);

/** How long a request may take before it is given up, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** A read that is told to wait is sent again by itself, so often and after at most so many seconds. */
const MAX_RETRIES = 2;
const MAX_WAIT_SECONDS = 5;

/** Where sign-in comes back to: kept by this tab and not in an address, which somebody else could write. */
const RETURN_PATH = "agentauth-return";

function leaveForSignIn(): never {
  sessionStorage.setItem(RETURN_PATH, location.pathname + location.search);
  location.replace("/sign-in");
  throw new RequestError("You are signed out.", { code: "sign_in_required", status: 401 });
}

interface Sent {
  readonly method?: string;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

async function send(path: string, { method = "GET", json, headers = {}, signal: ended }: Sent): Promise<Response> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const response = await fetch(path, {
      method,
      credentials: "same-origin",
      signal: ended ? AbortSignal.any([ended, timeout]) : timeout,
      headers: {
        "X-AgentAuth-Console": "1",
        ...(json !== undefined && { "Content-Type": "application/json" }),
        ...headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    });
    isOnline.value = true;
    return response;
  } catch (error) {
    if (ended?.aborted) throw error;
    isOnline.value = false;
    throw new RequestError(
      timeout.aborted
        ? "AgentAuth did not answer within 30 seconds. What you asked for may have been done: look before you repeat it."
        : "AgentAuth cannot be reached. Look at your connection, and try again.",
      { code: "unreachable" },
    );
  }
}

/** Sends a request; with the passkey's confirmation if it is asked for; a read again if it is told to wait. */
async function exchange(path: string, init: Sent, retries = 0): Promise<Response> {
  const response = await send(path, init);
  if (response.ok) return response;
  const body = (await response.json().catch(() => ({}))) as ErrorBody;
  const { code } = body;
  if (code === "sign_in_required") leaveForSignIn();
  if (code === "reauthentication_required" && body.assertion?.allowCredentials.length && !init.headers) {
    const assertion = await confirmWithPasskey(body.assertion).catch(() => {
      throw new RequestError("No passkey was used, so nothing was done. Try again to confirm it.", {
        code: "not_confirmed",
        status: 403,
      });
    });
    return exchange(path, { ...init, headers: { "AgentAuth-Assertion": assertion } }, MAX_RETRIES);
  }
  const wait = Number(response.headers.get("retry-after") ?? Infinity);
  const isRead = (init.method ?? "GET") === "GET";
  if (
    isRead &&
    (response.status === 429 || response.status === 503) &&
    retries < MAX_RETRIES &&
    wait <= MAX_WAIT_SECONDS
  ) {
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    return exchange(path, init, retries + 1);
  }
  const said = body.message ?? body.error ?? `AgentAuth answered ${response.status}.`;
  const later = response.status === 429 && Number.isFinite(wait) ? ` Wait ${wait} seconds.` : "";
  throw new RequestError(said + later, { ...(code && { code }), status: response.status, body });
}

async function json<T>(path: string, init: Sent): Promise<T> {
  const response = await exchange(path, init);
  try {
    return (await response.json()) as T;
  } catch {
    throw new RequestError("What answered is not AgentAuth. Something stands between this page and the deployment.", {
      code: "not_json",
      status: response.status,
    });
  }
}

type Parameters = Readonly<Record<string, string | number | undefined | null>>;

/** A path with a query. Parameters that are empty are left out. */
function withQuery(path: string, parameters: Parameters = {}): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return path + (text && `?${text}`);
}

/** Reads from the API. @throws {RequestError} */
export const read = <T>(path: string, parameters?: Parameters, signal?: AbortSignal): Promise<T> =>
  json<T>(withQuery(path, parameters), { signal });

/** Changes something through the API, once. @throws {RequestError} */
export async function change<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T> {
  outdated.value = undefined;
  try {
    return await json<T>(path, { method, ...(body !== undefined && { json: body }) });
  } catch (error) {
    if (error instanceof RequestError && isOutdated(error)) {
      outdated.value = error;
      refusals.value += 1;
    }
    throw error;
  }
}

/** Part of a path: an id that may be anything. */
export const segment = (id: string): string => encodeURIComponent(id);
/** Reads a file through the API, for the person to keep. @throws {RequestError} */
export const readFile = async (path: string, parameters: Parameters): Promise<Blob> =>
  (await exchange(withQuery(path, parameters), {})).blob();
