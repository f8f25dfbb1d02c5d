/** One refused or failed request, as a line of JSON for Workers Logs. It has no header, body, query or credential. */
export interface RequestLogLine {
  readonly request_id: string;
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  readonly status: number;
  readonly code: string;
  readonly agent_id?: string | undefined;
  /** Since the request arrived. */
  readonly duration_ms?: number | undefined;
  /** What of it each step took, in milliseconds: see `Step`. */
  readonly took_ms?: Readonly<Record<string, number>> | undefined;
  /** For the operator only: the response does not say it. */
  readonly cause?: string | undefined;
}

const senders = new WeakMap<Request, string>();

/** Notes which agent sent a request, once it has proved so by its token's signature or as an OAuth client, for what is said of a refusal. */
export function rememberAgent(request: Request, agentId: string): void {
  senders.set(request, agentId);
}

export const agentOf = (request: Request): string | undefined => senders.get(request);

/** Logs a refused or failed request. Successful ones are in the platform's own invocation logs. */
export function logRefusal(line: RequestLogLine): void {
  const text = JSON.stringify(line);
  if (line.status >= 500) console.error(text);
  else console.warn(text);
}
