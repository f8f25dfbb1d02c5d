import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import worker from "../../src/index.ts";
import { newEntry, SYSTEM_ORIGIN, type AuditEntry } from "../../src/outbox/record.ts";
import { failing } from "../support/bindings.ts";
import { world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const call = (about: Partial<AuditEntry>) =>
  newEntry("gateway.call", Date.now(), SYSTEM_ORIGIN, { agentId: "agt_counted", service: "lab", ...about });

async function consume(self: World, entries: readonly AuditEntry[], timestamp = new Date()): Promise<void> {
  const messages = entries.map((entry) => ({ id: entry.id, timestamp, attempts: 1, body: { kind: "record", entry } }));
  const [batch, ctx] = [createMessageBatch("agentauth-activity", messages), createExecutionContext()];
  await worker.queue(batch, self.env, ctx);
  await getQueueResult(batch, ctx);
}

/** Every sample of `GET /metrics` by its name and labels. */
async function scrape(self: World): Promise<Map<string, number>> {
  const { token } = await world().admin();
  const response = await self.fetch("/metrics", { token });
  expect(response.status).toBe(200);
  const samples = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

describe("GET /metrics", () => {
  it("counts records once, however often their messages come, and calls by their duration", async () => {
    const self = world();
    const before = await scrape(self);
    const quick = call({ outcome: "success", durationMs: 20 });
    const entries = [
      quick,
      call({ outcome: "success", durationMs: 300 }),
      call({ outcome: "denied", durationMs: 40_000 }),
      call({ id: quick.id.replace(/.$/, "~"), part: "intent", outcome: "unknown" }),
    ];
    await consume(self, entries);
    await consume(self, entries);
    const after = await scrape(self);
    const grown = (sample: string) => (after.get(sample) ?? 0) - (before.get(sample) ?? 0);
    const records = (outcome: string) =>
      `agentauth_records_total{action="gateway.call",service="lab",outcome="${outcome}"}`;
    expect(["success", "denied", "unknown"].map((outcome) => grown(records(outcome)))).toEqual([2, 1, 1]);
    const bucket = (le: string) => grown(`agentauth_call_duration_seconds_bucket{le="${le}"}`);
    expect(["0.025", "0.25", "0.5", "30", "+Inf"].map(bucket)).toEqual([1, 1, 2, 2, 3]);
    expect(grown("agentauth_call_duration_seconds_count")).toBe(3);
    expect(grown("agentauth_call_duration_seconds_sum")).toBeCloseTo(40.32);
  });

  it("shows the agents, and each part with what was measured of it", SLOW, async () => {
    const self = world();
    const { id, token } = await self.agent();
    await self.call(`/agents/${id}/revoke`, { method: "POST", token, json: {} });
    const samples = await scrape(self);
    expect(samples.get('agentauth_agents{status="revoked"}')).toBeGreaterThan(0);
    expect(samples.get('agentauth_part_up{part="database"}')).toBe(1);
    expect(samples.get('agentauth_part_lag_seconds{part="events"}')).toBeGreaterThanOrEqual(0);
    expect(samples.get('agentauth_part{part="audit_database",number="bytes"}')).toBeGreaterThan(0);
  });

  it("is there without the log's database, and says that this is missing", async () => {
    const samples = await scrape(world({ AUDIT_DB: failing(env.AUDIT_DB) }));
    expect(samples.get('agentauth_part_up{part="audit_database"}')).toBe(0);
  });
});

describe("what is measured of a request", () => {
  interface Point {
    indexes: string[];
    blobs: string[];
    doubles: number[];
  }
  const measured = (): { self: World; points: Point[] } => {
    const points: Point[] = [];
    return { points, self: world({ METRICS: { writeDataPoint: (point: Point) => points.push(point) } }) };
  };

  it("is its service or route, how it ended, and where its time went, and nothing of who sent it", async () => {
    const { self, points } = measured();
    const { id, token } = await self.agent(["lab:things:read"]);
    points.length = 0;
    await self.call("/proxy/lab/things/1", { token });
    await self.call("/proxy/lab/things/1", { token, method: "DELETE" });
    await self.call("/proxy/no-such-service-1/things", { token });
    await self.call(`/agents/${id}`, { token });
    await self.call(`/agents/${id}`);
    expect(points.map(({ blobs }) => blobs)).toEqual([
      ["call", "lab", "GET", "2xx", ""],
      ["call", "lab", "DELETE", "4xx", "insufficient_permissions"],
      ["call", "", "GET", "4xx", "unknown_service"],
      ["request", "/agents/{id}", "GET", "2xx", ""],
      ["request", "/agents/{id}", "GET", "4xx", "missing_token"],
    ]);
    expect(JSON.stringify(points)).not.toContain(id);
    // Total, HTTP status, status of the token, credential, intent, upstream, handler; −1 for a step that there was none of.
    for (const { doubles } of points) expect(doubles).toHaveLength(7);
    const steps = points.map(({ doubles }) => doubles.slice(2).map((ms) => ms >= 0));
    expect(steps[0]).toEqual([true, true, false, true, false]);
    expect(steps[1]).toEqual([true, false, false, false, false]);
    expect(steps[3]).toEqual([true, false, false, false, true]);
  });

  it("is how long a queue let its oldest message wait", async () => {
    const { self, points } = measured();
    await consume(self, [call({ outcome: "success" })], new Date(Date.now() - 90_000));
    const [{ blobs, doubles }] = points as [Point];
    expect(blobs).toEqual(["queue", "agentauth-activity"]);
    expect(doubles[1]).toBe(1);
    expect(doubles[2]).toBeGreaterThanOrEqual(90_000);
  });

  it("is in Server-Timing for administrators, and for nobody else", SLOW, async () => {
    const self = world();
    const [admin, agent] = [await self.admin(), await self.agent(["lab:things:read"])];
    const timing = async (path: string, token: string) =>
      (await self.call(path, { token })).headers.get("server-timing");
    const form = /^(?:\w+;dur=\d+, )*total;dur=\d+$/;
    expect(await timing("/proxy/lab/things/1", admin.token)).toMatch(form);
    expect(await timing("/proxy/lab/things/1", admin.token)).toContain("upstream;dur=");
    expect(await timing("/health/details", admin.token)).toMatch(form);
    expect(await timing("/proxy/lab/things/1", agent.token)).toBeNull();
    expect(await timing(`/agents/${agent.id}`, agent.token)).toBeNull();
    expect(await timing("/health", admin.token)).toBeNull();
  });

  it("is in the log line of a refusal", async () => {
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
    const self = world();
    const { token } = await self.agent(["lab:things:read"]);
    await self.call("/proxy/lab/things/1", { token, method: "DELETE" });
    const line = JSON.parse(warnings.mock.calls.at(-1)!.join());
    expect(line).toMatchObject({ code: "insufficient_permissions", duration_ms: expect.any(Number) });
    expect(Object.keys(line.took_ms)).toEqual(["status"]);
    warnings.mockRestore();
  });
});

it("A Worker without the binding METRICS measures nothing, and works", async () => {
  const self = world({ METRICS: undefined });
  expect((await self.call("/health")).status).toBe(200);
  expect(env.METRICS).toBeDefined();
});
