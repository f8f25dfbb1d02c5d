import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

/** `FAULTS=full` does it in the sizes that the measurements in docs/operations.md are of. */
const FULL = process.env.FAULTS === "full";
const LOAD = FULL ? { endpoints: 50, hanging: 10, deliveries: 1000 } : { endpoints: 10, hanging: 2, deliveries: 100 };
const KILLED = FULL ? 500 : 100;

const SETTINGS = { ISSUER: "https://auth.example.com", WEBHOOK_ALLOW_LOOPBACK: "true" };

interface Arrival {
  readonly kind: string;
  readonly at: number;
  readonly id: string;
  readonly time: number;
}

let server: Server;
let origin: string;
const arrivals: Arrival[] = [];
const arrived = (...kinds: string[]) => arrivals.filter(({ kind }) => kinds.includes(kind));

beforeAll(async () => {
  server = createServer((request, response) => void receive(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Opened when the Worker is dead: until then the later half of what arrives at `/slow/n` is not answered. */
const killed = Promise.withResolvers<void>();

/** `/hang/n` never answers, `/slow/n` takes a little. */
async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, kind = "", at] = request.url!.split("/");
  for await (const _ of request);
  arrivals.push({ kind, at: Number(at), id: String(request.headers["webhook-id"]), time: Date.now() });
  if (kind === "hang") return;
  if (kind === "slow") await new Promise((resolve) => setTimeout(resolve, 20));
  if (kind === "slow" && arrived("slow").length > KILLED / 2) await killed.promise;
  response.end("ok");
}

/** Agents with one webhook each, which hear when their tier changes. */
async function listeners(worker: Worker, admin: Agent, urls: readonly string[]): Promise<string[]> {
  return Promise.all(
    urls.map(async (url, index) => {
      const json = { name: `listener ${index}`, owner_email: "owner@example.com", permissions: ["github:repos:read"] };
      const { body } = await worker.call("/agents/register", { method: "POST", json });
      const proof = { agent_id: body.agent.agent_id, api_key: body.credentials.api_key };
      const { token } = (await worker.call("/agents/verify", { method: "POST", json: proof })).body;
      const hook = { url, events: ["agent.tier_updated"] };
      const made = await worker.call("/webhooks", { method: "POST", token: token.access_token, json: hook });
      expect(made.status).toBe(201);
      expect(admin.id).not.toBe(proof.agent_id);
      return proof.agent_id as string;
    }),
  );
}

/** Changes tiers back and forth: so many events for each agent. */
async function announce(worker: Worker, admin: Agent, ids: readonly string[], each: number): Promise<void> {
  for (let n = 0; n < each; n++) {
    const json = { tier: n % 2 === 0 ? "pro" : "free" };
    await Promise.all(ids.map((id) => worker.call(`/agents/${id}/tier`, { method: "PUT", token: admin.token, json })));
  }
}

async function until(done: () => boolean | Promise<boolean>, seconds: number): Promise<boolean> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    if (await done()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return done();
}

describe.concurrent("slow and dead receivers", SLOW, () => {
  it("delay nobody else", async () => {
    const worker = await startWorker(SETTINGS);
    try {
      const admin = await worker.admin();
      const { endpoints, hanging, deliveries } = LOAD;
      const urls = Array.from({ length: endpoints }, (_, n) => `${origin}/${n < hanging ? "hang" : "ok"}/${n}`);
      const ids = await listeners(worker, admin, urls);
      const each = deliveries / endpoints;
      const wanted = (endpoints - hanging) * each;
      // How long the healthy ones take by themselves, which on a busy machine may be any time.
      const alone = Date.now();
      await announce(worker, admin, ids.slice(hanging), each);
      expect(await until(() => arrived("ok").length >= wanted, 120)).toBe(true);
      const usual = Date.now() - alone;
      const earlier = arrived("ok").length;

      const began = Date.now();
      await announce(worker, admin, ids, each);
      const announced = Date.now() - began;
      await until(() => arrived("ok").length >= earlier + wanted, 120);
      const healthy = arrived("ok").slice(earlier);
      const last = Math.max(...healthy.map(({ time }) => time)) - began;
      console.log(
        `${deliveries} deliveries to ${endpoints} receivers, ${hanging} of them hanging: announced in ${announced} ms, the last healthy one arrived after ${last} ms, and after ${usual} ms where none hung`,
      );
      expect(new Set(healthy.map(({ id }) => id)).size).toBe(wanted);
      expect(healthy).toHaveLength(wanted);
      // A receiver that hangs is given up after 15 seconds: whoever waited for one would be later than that.
      expect(last - announced).toBeLessThan((FULL ? 30_000 : 10_000) + 3 * usual);
      const timedOut = "no answer within 15 seconds";
      const seen = await until(async () => {
        const rows = await worker.sql("SELECT count(*) AS n FROM deliveries WHERE error = ?", timedOut);
        return Number(rows[0]!.n) >= hanging * each;
      }, 120);
      expect(seen).toBe(true);
    } finally {
      await worker.stop();
    }
  });
});

describe.concurrent("a Worker that is killed in the middle of its deliveries", SLOW, () => {
  it("loses none: each arrives, and what arrives twice has the same id", async () => {
    const stateDir = mkdtempSync(join(tmpdir(), "agentauth-webhooks-"));
    const each = 10;
    let worker = await startWorker(SETTINGS, { stateDir });
    try {
      const admin = await worker.admin();
      const urls = Array.from({ length: KILLED / each }, (_, n) => `${origin}/slow/${n}`);
      const ids = await listeners(worker, admin, urls);
      const half = until(() => arrived("slow").length > KILLED / 2, 120);
      await announce(worker, admin, ids, each);
      expect(await half).toBe(true);
      worker.kill();
      await worker.stop().catch(() => {});
      killed.resolve();
      const before = arrived("slow").length;

      worker = await startWorker(SETTINGS, { stateDir });
      const events = await worker.sql("SELECT count(*) AS n FROM events");
      const unfinished = await worker.sql("SELECT count(*) AS n FROM deliveries WHERE status = 'pending'");
      const lost = Number(events[0]!.n) + Number(unfinished[0]!.n);
      expect(lost).toBeGreaterThan(0);
      await worker.runJobs();
      // Three minutes pass: claims of the dead end, and messages that were never sent are missed.
      await worker.sql(
        "UPDATE deliveries SET next_attempt_at = next_attempt_at - 180000, enqueued_at = enqueued_at - 180000 WHERE status = 'pending'",
      );
      await worker.runJobs();
      const done = await until(async () => {
        const [row] = await worker.sql("SELECT count(*) AS n, sum(status = 'success') AS done FROM deliveries");
        return Number(row!.n) === KILLED && Number(row!.done) === KILLED;
      }, 120);
      expect(done).toBe(true);
      const arrivedIds = new Set(arrived("slow").map(({ id }) => id));
      const rows = await worker.sql("SELECT id FROM deliveries");
      expect(arrivedIds.size).toBe(KILLED);
      expect(rows.every(({ id }) => arrivedIds.has(String(id)))).toBe(true);
      console.log(
        `killed after ${before} of ${KILLED} arrivals with ${lost} events or deliveries unfinished: all arrived, ${arrived("slow").length - KILLED} of them twice`,
      );
    } finally {
      await worker.stop().catch(() => {});
      rmSync(stateDir, { recursive: true, force: true });
    }
  });
});
