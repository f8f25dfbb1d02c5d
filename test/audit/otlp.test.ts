import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { sweepBatches } from "../../src/audit/archive/write.ts";
import { sendRecords, type OtlpTarget } from "../../src/audit/otlp/send.ts";
import { seedRecords } from "../support/audit-rows.ts";
import { receiver } from "../support/receiver.ts";
import { SLOW } from "../support/extents.ts";

const MINUTE = 60_000;
const T = Date.UTC(2026, 10, 20, 10, 0, 0);

beforeEach(async () => {
  await env.AUDIT_DB.batch(["records", "batches"].map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
});

/** A receiver, and the job that sends to it until it has nothing left. */
function collector(answers = "200") {
  const { url, arrived, elsewhere } = receiver(answers);
  const target: OtlpTarget = { url, headers: { authorization: "Bearer otlp-secret" } };
  return {
    arrived,
    elsewhere,
    async send(now: number, timeoutMs?: number) {
      while ((await sendRecords(env.AUDIT_DB, target, now, 500, timeoutMs)) === 500);
    },
  };
}

const unsent = () => env.AUDIT_DB.prepare("SELECT count(*) AS n FROM batches WHERE sent_at IS NULL").first<number>("n");
const nextAttempt = () => env.AUDIT_DB.prepare("SELECT min(next_attempt_at) AS n FROM batches").first<number>("n");

// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;
const logsOf = (body: string): Json[] => (JSON.parse(body) as Json).resourceLogs[0].scopeLogs[0].logRecords;

describe("OTLP", () => {
  it("gets each record once, as a log of OpenTelemetry in JSON", async () => {
    const [id] = await seedRecords([{ agent: "agt_a", at: T, outcome: "denied", message: "lacks github:repos:write" }]);
    const { send, arrived } = collector();
    await send(T + 1500);
    await send(T + 3000);
    const [request, ...more] = await arrived();
    expect(more).toEqual([]);
    expect(request!.headers).toMatchObject({ "content-type": "application/json", authorization: "Bearer otlp-secret" });
    const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
    expect(JSON.parse(request!.body)).toEqual({
      resourceLogs: [
        {
          resource: { attributes: [text("service.name", "agentauth")] },
          scopeLogs: [
            {
              scope: { name: "agentauth.audit" },
              logRecords: [
                {
                  timeUnixNano: `${T}000000`,
                  observedTimeUnixNano: `${T + 1500}000000`,
                  severityNumber: 13,
                  severityText: "WARN",
                  eventName: "agentauth.gateway.call",
                  body: { stringValue: "lacks github:repos:write" },
                  attributes: [
                    text("log.record.uid", id!),
                    text("http.request.method", "GET"),
                    text("url.path", "/repos/octo/hello/issues/5"),
                    { key: "http.response.status_code", value: { intValue: "200" } },
                    text("agentauth.action", "gateway.call"),
                    text("agentauth.outcome", "denied"),
                    text("agentauth.agent.id", "agt_a"),
                    text("agentauth.actor.type", "agent"),
                    text("agentauth.actor.id", "agt_a"),
                    text("agentauth.service", "github"),
                  ],
                },
              ],
            },
          ],
        },
      ],
    });
    // The 32 random bytes of a record are what its proof rests on.
    expect(request!.body).not.toContain("random");
    expect(await unsent()).toBe(0);
  });

  it("gets many records in few requests", SLOW, async () => {
    for (let batch = 0; batch < 12; batch++)
      await seedRecords(Array.from({ length: 20 }, (_, i) => ({ agent: `agt_${i}`, at: T + batch })));
    const { send, arrived } = collector();
    await send(T + MINUTE);
    const requests = await arrived();
    expect(requests.map(({ body }) => logsOf(body).length)).toEqual([100, 100, 40]);
  });

  it("is tried again later and later while it fails, and as late as it asks", SLOW, async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const { send, arrived } = collector("503,reset,500,429~7200,200");
    const delays: number[] = [];
    for (let now = T, attempt = 0; attempt < 5; attempt++) {
      await send(now);
      if ((await unsent()) === 0) break;
      const next = (await nextAttempt())!;
      delays.push((next - now) / MINUTE);
      await send(next - 1);
      now = next;
    }
    expect(delays).toEqual([1, 2, 4, 120]);
    expect(await arrived()).toHaveLength(5);
    expect(await unsent()).toBe(0);
  });

  it("never waits for an hour more between two attempts, and loses none of what fails for days", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    await env.AUDIT_DB.prepare("UPDATE batches SET attempts = 500").run();
    const { send } = collector("503");
    await send(T);
    expect((await nextAttempt())! - T).toBe(60 * MINUTE);
  });

  it("is not sent the same again when it refuses records, all or some, which is logged", async () => {
    const logged = vi.spyOn(console, "error");
    await seedRecords([{ agent: "agt_a", at: T }]);
    await collector("400").send(T);
    expect(await unsent()).toBe(0);
    await seedRecords([{ agent: "agt_a", at: T }]);
    await collector("partial").send(T);
    expect(await unsent()).toBe(0);
    const lines = logged.mock.calls.map(([line]) => JSON.parse(String(line)) as Json);
    expect(lines).toMatchObject([
      { event: "otlp_records_refused", cause: "the receiver answered 400", records: 1 },
      { event: "otlp_records_refused", cause: "too old", records: 1 },
    ]);
    logged.mockRestore();
  });

  it("is tried again when it refuses us: the operator may set the right header", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const { send } = collector("401,403,404,200");
    for (let at = T; (await unsent())! > 0; at += 60 * MINUTE) await send(at);
  });

  it("is not followed to another place", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const { send, elsewhere } = collector("307");
    await send(T);
    expect(await elsewhere()).toEqual([]);
    expect(await unsent()).toBe(1);
  });

  it("has a bounded time, and one batch that fails delays no others", SLOW, async () => {
    await seedRecords([{ agent: "agt_bad", at: T }]);
    const { send, arrived } = collector("hang,200");
    await send(T, 100);
    expect(await unsent()).toBe(1);
    for (let batch = 0; batch < 3; batch++) await seedRecords([{ agent: "agt_good", at: T + batch }]);
    await send(T + MINUTE);
    expect(await unsent()).toBe(0);
    const agents = (await arrived()).map(({ body }) => logsOf(body).length);
    // The first, then those that were not tried before, then that one by itself.
    expect(agents).toEqual([1, 3, 1]);
  });

  it("gets records once from two runs at once", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const { send, arrived } = collector();
    await Promise.all([send(T), send(T), send(T)]);
    expect(await arrived()).toHaveLength(1);
  });

  it("says so if records left the database before it answered", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    await env.AUDIT_DB.prepare("DELETE FROM records").run();
    const logged = vi.spyOn(console, "error");
    await collector().send(T);
    expect(logged.mock.calls.join()).toContain("have left the database");
    logged.mockRestore();
    expect(await unsent()).toBe(0);
  });

  it("keeps the batches until they are sent, and finds those that are due by an index", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 1").run();
    expect(await sweepBatches(env.AUDIT_DB, true, 500)).toBe(0);
    await collector().send(T);
    expect(await sweepBatches(env.AUDIT_DB, true, 500)).toBe(1);
    const { results } = await env.AUDIT_DB.prepare(
      "EXPLAIN QUERY PLAN SELECT id, attempts FROM batches WHERE sent_at IS NULL AND next_attempt_at <= 1 ORDER BY next_attempt_at LIMIT 5",
    ).all<{ detail: string }>();
    expect(results.map(({ detail }) => detail).join()).toContain("USING INDEX batches_to_send");
  });
});
