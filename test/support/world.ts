import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env as boundEnv } from "cloudflare:workers";
import { expect, inject } from "vitest";
import { consumeMessages } from "../../src/audit/consume.ts";
import type { AuditMessage } from "../../src/audit/message.ts";
import { toRecord, type AuditRecord } from "../../src/audit/audit-record.ts";
import { moveOutbox } from "../../src/audit/move.ts";
import { rowToRecord, type RecordRow } from "../../src/audit/store/records.ts";
import { answer, ROUTES } from "../../src/app.ts";
import type { AuditEntry } from "../../src/outbox/record.ts";
import type { DeliveryMessage } from "../../src/webhooks/deliveries/enqueue.ts";
import type { Answer } from "./answer.ts";
import { withTestClock } from "./database-clock.ts";

export type { Answer } from "./answer.ts";

/** The operator's own upstream of the tests: served by upstream-server.ts. */
export const LAB = {
  resources: { things: ["read", "write"], notes: ["read", "write"] },
  rules: [
    "* /lab/{behaviour}/{argument:text} things",
    "* /things things",
    "* /things/{id} things",
    "* /things/{id}/notes notes",
    "* /files/{path...} things",
  ],
};

export interface Registered {
  id: string;
  apiKey: string;
  token: string;
  refreshToken: string;
}

export interface World {
  env: ReturnType<typeof testEnv>;
  /** What the Worker put into the activity queue, oldest first. */
  sent: AuditMessage[];
  /** The entries of the audit log in it. */
  readonly entries: readonly AuditEntry[];
  /** Every record of an agent that is in the audit log or on its way there, the newest first. */
  records(agentId: string): Promise<AuditRecord[]>;
  /** What it asked the deliveries' queue for, oldest first. */
  asked: { deliveryId: string; delaySeconds: number }[];
  /** How many messages to empty the outbox it has sent. */
  drains: number;
  /** The path is one of `https://auth.example.com`, unless it is a whole URL. */
  fetch(path: string, init?: RequestInit & { token?: string; json?: unknown; ip?: string }): Promise<Response>;
  call(path: string, init?: RequestInit & { token?: string; json?: unknown; ip?: string }): Promise<Answer>;
  agent(permissions?: string[]): Promise<Registered>;
  admin(): Promise<Registered>;
  /** Waits until what all requests have begun has ended, also behind their answers. An answer that nobody reads does not end. */
  settled(): Promise<void>;
  /** Lets the queue's consumer run over all that was sent, and moves the outbox of the audit log. */
  drain(): Promise<void>;
}

/** The real bindings under the tests' own settings. */
export function testEnv(overrides: Record<string, unknown> = {}): Cloudflare.Env & typeof boundEnv.TEST_SETTINGS {
  const bindings = Object.entries(boundEnv).filter(
    ([name, value]) => typeof value !== "string" && name !== "UPSTREAMS",
  );
  const DB = withTestClock(boundEnv.DB);
  return { ...Object.fromEntries(bindings), DB, ...boundEnv.TEST_SETTINGS, ...overrides } as never;
}

let names = 0;

/** A request of a test that names no address comes from one of its own: requests of other tests are never counted against it. */
let addresses = 0;
const anotherAddress = (): string => `10.${(++addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`;

interface Served {
  fetch(request: Request, env: Env, context: ExecutionContext): Response | Promise<Response>;
}

/** A Worker with its own settings over the real D1, KV and rate limits of the test file. */
export function world(overrides: Record<string, unknown> = {}, served: Served = { fetch: answer }): World {
  const upstream = inject("upstream");
  const sent: AuditMessage[] = [];
  const asked: World["asked"] = [];
  const working: Promise<void>[] = [];
  const env = testEnv({
    "UPSTREAMS.github.base_url": upstream,
    "UPSTREAMS.lab": { base_url: upstream, ...LAB },
    ACTIVITY: {
      send: async (message: AuditMessage) => void sent.push(structuredClone(message)),
      async sendBatch(messages: MessageSendRequest<AuditMessage>[]) {
        for (const { body } of messages) sent.push(structuredClone(body));
      },
    },
    DELIVERIES: {
      async sendBatch(messages: MessageSendRequest<DeliveryMessage>[]) {
        for (const { body, delaySeconds = 0 } of messages) asked.push({ ...body, delaySeconds });
      },
      send: async () => void self.drains++,
    },
    ...overrides,
  });

  const self: World = {
    env,
    sent,
    get entries() {
      return sent.flatMap((message) => (message.kind === "record" ? message.entry : []));
    },
    async records(agentId) {
      await self.drain();
      const { results } = await env.AUDIT_DB.prepare("SELECT * FROM records WHERE agent_id = ? ORDER BY id DESC")
        .bind(agentId)
        .all<RecordRow>();
      const waiting = await env.DB.prepare("SELECT entry FROM audit_outbox WHERE agent_id = ? ORDER BY id DESC")
        .bind(agentId)
        .all<{ entry: string }>();
      const entries = waiting.results.map(({ entry }) => JSON.parse(entry) as AuditEntry);
      return [...results.map(rowToRecord), ...entries.map(toRecord)].toSorted((a, b) => (a.id < b.id ? 1 : -1));
    },
    asked,
    drains: 0,
    async fetch(path, { token, json, ip, ...init } = {}) {
      const headers = new Headers(init.headers);
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      if (json !== undefined) headers.set("content-type", "application/json");
      headers.set("cf-connecting-ip", ip ?? anotherAddress());
      const body = json === undefined ? init.body : JSON.stringify(json);
      const ctx = createExecutionContext();
      const request = new Request(/^https?:/.test(path) ? path : `https://auth.example.com${path}`, {
        ...init,
        headers,
        ...(body != null && { body }),
      });
      const response = await served.fetch(request, env, ctx);
      // A body that nobody reads keeps its pipe, and so the context, open.
      working.push(waitOnExecutionContext(ctx));
      return response;
    },
    async call(path, init) {
      const response = await self.fetch(path, init);
      const text = await response.text();
      await scheduler.wait(0);
      let body: unknown = text;
      try {
        body = JSON.parse(text);
      } catch {
        // Proxied answers need not be JSON.
      }
      if (response.ok && served.fetch === answer) checkResponseBody(init?.method ?? "GET", path, body);
      return { status: response.status, headers: response.headers, body };
    },
    agent: (permissions = ["lab:things:read"]) => register(self, permissions),
    admin: () => register(self, ["*:*:*"], env.ADMIN_BOOTSTRAP_TOKEN),
    async settled() {
      await Promise.allSettled(working.splice(0));
    },
    async drain() {
      await consumeMessages(env, sent.splice(0), { now: Date.now(), isRepeated: false });
      await moveOutbox(env, Date.now());
    },
  };
  return self;
}

const PATTERNS = ROUTES.map((route) => [route, new RegExp(`^${route.path.replace(/\{\w+\}/g, "[^/]+")}$`)] as const);

/**
 * Every success that a test gets is exactly what its route's response schema says, and what OpenAPI therefore says: a key that
 * the schema does not have is a fault, which TypeScript does not see in what a function returns.
 */
function checkResponseBody(method: string, path: string, body: unknown): void {
  const { pathname } = new URL(path, "https://auth.example.com");
  const matching = PATTERNS.filter(([one, pattern]) => one.method === method && pattern.test(pathname));
  // A static path wins over a parameter in its place.
  const [route] = matching.find(([one]) => !one.path.includes("{")) ?? matching[0] ?? [];
  if (route) expect(body).toStrictEqual(route.response().parse(body));
}

async function register(where: World, permissions: string[], token?: string): Promise<Registered> {
  const json = { name: `agent ${++names}`, owner_email: "owner@example.com", permissions };
  const registered = await where.call("/agents/register", { method: "POST", json, ...(token && { token }) });
  if (registered.status !== 201) throw new Error(JSON.stringify(registered.body));
  const id = registered.body.agent.agent_id;
  const apiKey = registered.body.credentials.api_key;
  const verified = await where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
  if (verified.status !== 200) throw new Error(JSON.stringify(verified.body));
  const { access_token, refresh_token } = verified.body.token;
  return { id, apiKey, token: access_token, refreshToken: refresh_token };
}
