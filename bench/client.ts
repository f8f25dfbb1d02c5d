import { settings } from "./product.ts";

/** Operations of one piece of work, as `counting.js` counts them. */
export interface Counts {
  readonly d1: number;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly kvReads: number;
  readonly kvWrites: number;
  readonly queueMessages: number;
  readonly rateLimits: number;
}

export interface Operations {
  readonly awaited: Counts;
  readonly later: Counts;
  readonly statements: readonly { readonly sql: string; readonly rowsRead: number; readonly rowsWritten: number }[];
}

/** What the queues' consumers and the schedule did, by their names. */
export type Totals = Record<
  string,
  { -readonly [Name in keyof Counts]: number } & {
    batches: number;
    messages: number;
    statements: Record<string, { times: number; rowsRead: number; rowsWritten: number }>;
  }
>;

export interface Agent {
  readonly id: string;
  readonly apiKey: string;
  readonly token: string;
  readonly refreshToken: string;
}

type Init = Omit<RequestInit, "body"> & { token?: string; json?: unknown };

/** Calls the product's own endpoints on a port of 127.0.0.1. */
export function client(port: number) {
  // oxlint-disable-next-line typescript/no-explicit-any
  async function call(path: string, init: Init = {}): Promise<{ status: number; headers: Headers; body: any }> {
    const { token, json, ...rest } = init;
    const headers = new Headers(rest.headers);
    if (token) headers.set("authorization", `Bearer ${token}`);
    if (json !== undefined) headers.set("content-type", "application/json");
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...rest,
      headers,
      ...(json !== undefined && { body: JSON.stringify(json) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: /^[[{]/.test(text) ? JSON.parse(text) : text };
  }

  async function agent(permissions: readonly string[], token?: string): Promise<Agent> {
    const json = { name: "bench", owner_email: "bench@example.com", permissions };
    const { status, body } = await call("/agents/register", { method: "POST", json, ...(token && { token }) });
    if (status !== 201) throw new Error(`registration: ${status} ${JSON.stringify(body)}`);
    const proof = { agent_id: body.agent.agent_id, api_key: body.credentials.api_key };
    const verified = await call("/agents/verify", { method: "POST", json: proof });
    if (verified.status !== 200) throw new Error(`verify: ${verified.status} ${JSON.stringify(verified.body)}`);
    const { access_token, refresh_token } = verified.body.token;
    return { id: proof.agent_id, apiKey: proof.api_key, token: access_token, refreshToken: refresh_token };
  }

  return {
    call,
    agent,
    admin: () => agent(["*:*:*"], settings(0).ADMIN_BOOTSTRAP_TOKEN),
    /** A call with its operations counted; needs `counting.js` before the bundle. */
    async counted(path: string, init: Init = {}) {
      const answer = await call(path, { ...init, headers: { "x-bench-count": "1" } });
      const operations = answer.headers.get("x-bench-operations");
      if (!operations) throw new Error(`${path} was not counted: ${answer.status} ${JSON.stringify(answer.body)}`);
      return { ...answer, operations: JSON.parse(decodeURIComponent(operations)) as Operations };
    },
    /** What happened behind the answers since this was last asked. */
    totals: async (): Promise<Totals> => (await call("/bench/totals")).body as Totals,
  };
}
