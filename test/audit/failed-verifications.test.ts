import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { MAX_REFUSALS_PER_MINUTE } from "../../src/tokens/store/refusals.ts";
import { attempts, hook, hookWorld, receiver, settle } from "../support/receiver.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const MINUTE = 60_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / MINUTE) * MINUTE }));
afterEach(() => void vi.useRealTimers());

const guess = (where: World, { id }: Registered, ip: string) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: WRONG_API_KEY }, ip });
const house = (where: World) => runScheduledJobs(where.env, loadConfig(where.env), Date.now());

async function failures(where: World, who: Registered) {
  const { activity, pagination } = (await where.call(`/agents/${who.id}/activity?limit=100`, { token: who.token }))
    .body;
  expect(pagination.total).toBe(activity.length);
  const rows = activity as { message: string; ip_address: string; timestamp: string; status: string }[];
  return rows.filter(({ status }) => status === "failure");
}

describe("failed verifications of one agent", () => {
  it(
    "are rows up to the limit of a minute, and one row and one event with a count, in its own view at once",
    SLOW,
    async () => {
      const where = hookWorld();
      const [agent, other] = [await where.agent(), await where.agent()];
      const at = receiver();
      await hook(where, agent, { url: at.url, events: ["agent.verification_failed"] });
      await settle(where);
      const more = 7;
      for (let n = 0; n < MAX_REFUSALS_PER_MINUTE; n++) await guess(where, agent, "203.0.113.5");
      expect((await failures(where, agent)).map(({ message }) => message)).toEqual(
        Array(MAX_REFUSALS_PER_MINUTE).fill("verification failed"),
      );
      for (let n = 0; n < more; n++) await guess(where, agent, `203.0.113.${n % 2}`);
      await guess(where, other, "203.0.113.9");
      // Nothing leaves the outbox before its minute is over, so that nothing is counted twice.
      await settle(where);
      await house(where);
      for (const _ of [1, 2]) {
        const rows = await failures(where, agent);
        expect(rows).toHaveLength(MAX_REFUSALS_PER_MINUTE + 1);
        expect(rows.find(({ message }) => message !== "verification failed")).toMatchObject({
          message: `${more} more failed verifications from 2 addresses`,
          ip_address: "",
        });
        expect(await failures(where, other)).toHaveLength(1);
        vi.setSystemTime(Date.now() + 2 * MINUTE);
        await Promise.all([house(where), house(where)]);
        expect(await where.env.DB.prepare("SELECT count(*) AS n FROM audit_outbox").first("n")).toBe(0);
      }
      await settle(where);
      await attempts(where);
      const told = (await at.arrived()).map(({ body }) => JSON.parse(body).data);
      expect(told).toHaveLength(MAX_REFUSALS_PER_MINUTE + 1);
      expect(told.find(({ count }) => count !== undefined)).toEqual({
        agent_id: agent.id,
        failed_at: expect.any(String),
        ip_address: expect.stringContaining("203.0.113."),
        count: more,
        addresses: 2,
      });
    },
  );
});
