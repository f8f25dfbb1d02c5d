/** One refused or failed request, as a line of JSON for Workers Logs. Holds no header, body, query or credential. */
export interface RequestLogLine {
  readonly request_id: string;
  readonly method: string;
  /** The path without its query. */
  readonly path: string;
  readonly status: number;
  readonly code: string;
  readonly agent_id?: string | undefined;
  /** For the operator only: what the answer does not say. */
  readonly cause?: string | undefined;
}

const senders = new WeakMap<Request, string>();

/** Keeps who sent a request, for the line that tells of its refusal: known once a token's signature is. */
export function rememberAgent(request: Request, agentId: string): void {
  senders.set(request, agentId);
}

export const agentOf = (request: Request): string | undefined => senders.get(request);

/** Successes are the platform's own invocation log; here stands what somebody may have to explain. */
export function logRefusal(line: RequestLogLine): void {
  const text = JSON.stringify(line);
  if (line.status >= 500) console.error(text);
  else console.warn(text);
}
