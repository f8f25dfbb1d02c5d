import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { consumeMessages } from "../../src/audit/consume.ts";
import type { RefusalsMessage } from "../../src/audit/message.ts";
import { countRefusal, recordRefusals, type Refusal } from "../../src/audit/refusals.ts";
import { addRefusals, MAX_COUNTS_PER_MINUTE } from "../../src/audit/store/refusals.ts";
import { newRecordId } from "../../src/outbox/record.ts";
import { failing } from "../support/bindings.ts";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-03-01T10:00:00Z");

const refusal = (subject: string, more: Partial<Refusal> = {}): Refusal => ({
  subject,
  code: "missing_token",
  status: 401,
  method: "GET",
  path: "/agents",
  origin: { actor: null, act: [], ipAddress: subject, requestId: "request", keyId: null, sessionId: null },
  ...more,
});

/** An isolate with a queue and a clock of its own. */
function isolate() {
  const sent: RefusalsMessage[] = [];
  const timers: (() => void)[] = [];
  const works: Promise<unknown>[] = [];
  const bindings = { ACTIVITY: { send: async (message: RefusalsMessage) => void sent.push(message) } as never };
  const wait = () => new Promise<void>((resolve) => timers.push(resolve));
  const context = { env: bindings, waitUntil: (work: Promise<unknown>) => void works.push(work) };
  return {
    sent,
    count: (now: number, one: Refusal) => countRefusal({ ...context, now }, one, wait),
    /** Lets the time pass that the isolate waits for. */
    async later() {
      for (const resolve of timers.splice(0)) resolve();
      await Promise.all(works);
    },
  };
}

const consume = (messages: readonly RefusalsMessage[], now = START) =>
  consumeMessages(env, messages, { now, isRepeated: false });
const rows = () => env.AUDIT_DB.prepare("SELECT count(*) AS n, total(count) AS total FROM refusal_counts").first();
const records = async () =>
  (
    await env.AUDIT_DB.prepare(
      "SELECT agent_id, outcome, ip_address, count, message, path, status FROM records WHERE action = 'request.refused'",
    ).all<{ agent_id: string; count: number; ip_address: string | null }>()
  ).results;

beforeEach(async () => {
  await env.AUDIT_DB.batch([
    env.AUDIT_DB.prepare("DELETE FROM refusal_counts"),
    env.AUDIT_DB.prepare("DELETE FROM records"),
  ]);
});

describe("refusals of strangers", () => {
  it("are sent at once if they are rare, and together if they are many", async () => {
    const one = isolate();
    one.count(START, refusal("192.0.2.1"));
    expect(one.sent).toHaveLength(1);
    one.count(START + 1, refusal("192.0.2.1"));
    one.count(START + 2, refusal("192.0.2.2"));
    one.count(START + 3, refusal("192.0.2.1", { code: "invalid_token" }));
    expect(one.sent).toHaveLength(1);
    await one.later();
    expect(one.sent.map(({ refusals }) => refusals.map(({ subject, code, count }) => [subject, code, count]))).toEqual([
      [["192.0.2.1", "missing_token", 1]],
      [
        ["192.0.2.1", "missing_token", 1],
        ["192.0.2.2", "missing_token", 1],
        ["192.0.2.1", "invalid_token", 1],
      ],
    ]);
  });

  it(
    "cost a bounded number of messages, rows and records: a hundred thousand from ten thousand addresses",
    SLOW,
    async () => {
      const one = isolate();
      const [refused, addresses] = [100_000, 10_000];
      for (let n = 0; n < refused; n++) {
        const at = START + Math.floor((n * MINUTE) / refused);
        one.count(at, refusal(`10.0.${(n % addresses) >> 8}.${(n % addresses) & 255}`));
      }
      await one.later();
      expect(one.sent.length).toBeLessThanOrEqual(14);
      expect(Math.max(...one.sent.map((message) => JSON.stringify(message).length))).toBeLessThan(128_000);
      await consume(one.sent);
      expect(await rows()).toMatchObject({ total: refused });
      // The same from many isolates.
      const counts = one.sent.flatMap(({ refusals }) => refusals);
      for (let other = 0; other < 8; other++)
        await addRefusals(
          env.AUDIT_DB,
          counts.map((count) => ({
            ...count,
            subject: count.subject && `${count.subject}-${other}`,
            entry: { ...count.entry, id: newRecordId(START) },
          })),
        );
      const all = 9 * refused;
      const stored = (await rows()) as { n: number; total: number };
      expect(stored.total).toBe(all);
      expect(stored.n).toBeLessThanOrEqual(MAX_COUNTS_PER_MINUTE + counts.length);

      expect(await recordRefusals(env.AUDIT_DB, START + MINUTE, 500), "the minute may not be over").toBe(0);
      const now = START + 2 * MINUTE;
      while (
        (await Promise.all([recordRefusals(env.AUDIT_DB, now, 500), recordRefusals(env.AUDIT_DB, now, 500)]))[0] > 0
      );
      expect(await rows()).toEqual({ n: 0, total: 0 });
      const made = await records();
      expect(made.length).toBe(stored.n);
      expect(made.reduce((sum, { count }) => sum + count, 0)).toBe(all);
      // What is not told apart says nobody's address.
      expect(made.filter(({ ip_address }) => ip_address === null)).toHaveLength(1);
    },
  );

  it("that come after their record are a record of their own", async () => {
    const one = isolate();
    one.count(START, refusal("192.0.2.1"));
    await consume(one.sent);
    const now = START + 2 * MINUTE;
    await recordRefusals(env.AUDIT_DB, now, 500);
    await consume(one.sent);
    await recordRefusals(env.AUDIT_DB, now, 500);
    // The same message again has the id of a record that exists, so it is not counted a second time.
    expect((await records()).map(({ count }) => count)).toEqual([1]);
    const late = isolate();
    late.count(START + 1, refusal("192.0.2.1"));
    await consume(late.sent);
    await recordRefusals(env.AUDIT_DB, now, 500);
    expect((await records()).map(({ count }) => count)).toEqual([1, 1]);
  });

  it("of a token that we signed are shown to its agent, with their number", async () => {
    const self = world();
    const { id, token } = await self.agent();
    const one = isolate();
    const revoked = refusal("ses_1", { code: "token_revoked", agentId: id, path: `/proxy/${"x".repeat(300)}` });
    for (let n = 0; n < 3; n++) one.count(START + n, revoked);
    await one.later();
    await consume(one.sent);
    await recordRefusals(env.AUDIT_DB, START + 2 * MINUTE, 500);
    const [record] = await self.records(id).then((all) => all.filter(({ action }) => action === "request.refused"));
    expect(record).toMatchObject({ outcome: "denied", status: 401, count: 3, message: "token_revoked" });
    const { activity } = (await self.call(`/agents/${id}/activity`, { token })).body;
    expect(activity.at(-1).message).toMatch(/→ token_revoked \(3 times\)$/);
  });

  it("that the queue does not take are logged, and the isolate counts on", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const works: Promise<unknown>[] = [];
    const context = {
      env: { ACTIVITY: failing(env.ACTIVITY) } as never,
      now: START,
      waitUntil: (work: Promise<unknown>) => void works.push(work),
    };
    countRefusal(context, refusal("192.0.2.1"), async () => {});
    await Promise.all(works);
    expect(errors.mock.calls.flat().join()).toContain("refusals_not_counted");
    errors.mockRestore();
  });
});
