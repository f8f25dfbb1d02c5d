import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MAX_FAILED_VERIFICATIONS } from "../../src/audit/store/failed-verifications.ts";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { attempts, hook, hookWorld, receiver, settle } from "../support/receiver.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import type { Registered, World } from "../support/world.ts";

const MINUTE = 60_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / MINUTE) * MINUTE }));
afterEach(() => void vi.useRealTimers());

const guess = (where: World, { id }: Registered, ip: string) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: WRONG_API_KEY }, ip });
const house = (where: World) => runScheduledJobs(where.env, loadConfig(where.env), Date.now());

async function failures(where: World, who: Registered) {
  await where.drain();
  const { activity } = (await where.call(`/agents/${who.id}/activity?limit=100`, { token: who.token })).body;
  const total = await where.env.AUDIT_DB.prepare(
    "SELECT total FROM record_counts WHERE agent_id = ? AND is_success = 0",
  )
    .bind(who.id)
    .first<number>("total");
  const rows = activity.filter(({ status }: { status: string }) => status === "failure");
  expect(total ?? 0).toBe(rows.length);
  return rows as { message: string; ip_address: string; timestamp: string }[];
}

describe("failed verifications of one agent", () => {
  it("are rows up to the limit of a minute, and then one row and one event with a count, whatever the queue brings twice", async () => {
    const where = hookWorld();
    const [agent, other] = [await where.agent(), await where.agent()];
    const at = receiver();
    await hook(where, agent, { url: at.url, events: ["agent.verification_failed"] });
    await settle(where);
    const more = 7;
    for (let n = 0; n < MAX_FAILED_VERIFICATIONS + more; n++) await guess(where, agent, `203.0.113.${n % 2}`);
    await guess(where, other, "203.0.113.9");
    const messages = where.sent.splice(0);
    // In two batches, the second in the opposite order, and all of it once more.
    where.sent.push(...messages.slice(0, 3));
    await settle(where);
    where.sent.push(...messages.slice(3).toReversed());
    await settle(where);
    where.sent.push(...messages, ...messages.slice(4));
    await settle(where);
    expect((await failures(where, agent)).map(({ message }) => message)).toEqual(
      Array(MAX_FAILED_VERIFICATIONS).fill("verification failed"),
    );
    expect(await failures(where, other)).toHaveLength(1);

    await house(where);
    expect(await failures(where, agent), "the minute is not over").toHaveLength(MAX_FAILED_VERIFICATIONS);
    vi.setSystemTime(Date.now() + MINUTE);
    await Promise.all([house(where), house(where)]);
    // What the count puts into the outbox goes out with the next.
    await settle(where);
    where.sent.push(...messages);
    await settle(where);
    vi.setSystemTime(Date.now() + MINUTE);
    await house(where);
    await attempts(where);
    const rows = await failures(where, agent);
    expect(rows).toHaveLength(MAX_FAILED_VERIFICATIONS + 1);
    const told = (await at.arrived()).map(({ body }) => JSON.parse(body).data);
    expect(told).toHaveLength(MAX_FAILED_VERIFICATIONS + 1);
    const counted = told.find(({ count }) => count !== undefined);
    expect(counted).toEqual({
      agent_id: agent.id,
      failed_at: expect.any(String),
      ip_address: expect.stringContaining("203.0.113."),
      count: more,
      addresses: 2,
    });
    expect(rows.find(({ message }) => message !== "verification failed")).toMatchObject({
      message: `${more} more failed verifications from 2 addresses`,
      ip_address: "",
    });
  });

  it("that come in late are counted too, and those of one address show it", async () => {
    const where = hookWorld();
    const agent = await where.agent();
    await settle(where);
    for (let n = 0; n < MAX_FAILED_VERIFICATIONS + 3; n++) await guess(where, agent, "203.0.113.5");
    const messages = where.sent.splice(0);
    where.sent.push(...messages.slice(0, -1));
    await settle(where);
    vi.setSystemTime(Date.now() + MINUTE);
    await house(where);
    where.sent.push(messages.at(-1)!);
    await settle(where);
    vi.setSystemTime(Date.now() + MINUTE);
    await house(where);
    const counts = (await failures(where, agent)).filter(({ message }) => message !== "verification failed");
    expect(counts.map(({ message }) => message).toSorted()).toEqual([
      "1 more failed verifications from 1 address",
      "2 more failed verifications from 1 address",
    ]);
    expect(counts.every(({ ip_address }) => ip_address === "203.0.113.5")).toBe(true);
    const kept = () =>
      where.env.DB.prepare("SELECT count(*) AS n FROM failed_verifications WHERE agent_id = ?")
        .bind(agent.id)
        .first("n");
    expect(await kept()).toBe(MAX_FAILED_VERIFICATIONS + 3);
    vi.setSystemTime(Date.now() + 61 * MINUTE);
    await house(where);
    expect(await kept()).toBe(0);
  });
});
