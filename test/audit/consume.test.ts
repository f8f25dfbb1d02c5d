import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { expect, it, vi } from "vitest";
import { newEntry, SYSTEM_ORIGIN } from "../../src/outbox/record.ts";
import worker from "../../src/index.ts";
import { world } from "../support/world.ts";

it.each([
  [1, ["good", "bad"], 0],
  [3, ["bad"], 1],
])("On attempt %i of a batch with a message that cannot be written, %j come again", async (attempts, again, rows) => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {});
  const self = world();
  const { id, token } = await self.agent();
  const entry = newEntry("gateway.call", Date.now(), SYSTEM_ORIGIN, { agentId: id });
  const good = { kind: "record", entry };
  const messages = Object.entries({ good, bad: null }).map(([name, body]) => ({
    id: name,
    timestamp: new Date(),
    attempts,
    body,
  }));
  const [batch, ctx] = [createMessageBatch("agentauth-activity", messages), createExecutionContext()];
  await worker.queue(batch, self.env, ctx);
  const { retryMessages } = await getQueueResult(batch, ctx);
  expect(retryMessages.map(({ msgId }) => msgId)).toEqual(again);
  expect(errors.mock.calls.flat().join()).toContain("activity_not_recorded");
  const { activity } = (await self.call(`/agents/${id}/activity`, { token })).body;
  const written = activity.filter((one: { id: string }) => one.id === entry.id.replace("aud_", "act_"));
  expect(written).toHaveLength(rows);
});

it("A message that the queue gave up is told of once, and written if it can be, in every environment", async () => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {});
  const self = world();
  const { id, token } = await self.agent();
  const consume = async (queue: string, attempts: number) => {
    const entry = newEntry("gateway.call", Date.now(), SYSTEM_ORIGIN, { agentId: id });
    const messages = Object.entries({ [entry.id]: { kind: "record", entry }, bad: null }).map(([name, body]) => ({
      id: name,
      timestamp: new Date(),
      attempts,
      body,
    }));
    const [batch, ctx] = [createMessageBatch(queue, messages), createExecutionContext()];
    errors.mockClear();
    await worker.queue(batch, self.env, ctx);
    const { retryMessages } = await getQueueResult(batch, ctx);
    const told = errors.mock.calls.flat().join().includes("activity_dead");
    return { entry, told, again: retryMessages.map(({ msgId }) => msgId) };
  };
  expect(await consume("agentauth-activity-dead", 1)).toMatchObject({ told: true });
  const second = await consume("agentauth-staging-activity-dead", 3);
  expect(second).toMatchObject({ told: false, again: ["bad"] });
  const { activity } = (await self.call(`/agents/${id}/activity`, { token })).body;
  expect(activity.map((one: { id: string }) => one.id)).toContain(second.entry.id.replace("aud_", "act_"));
  await expect(consume("somebody-elses", 1)).rejects.toThrow("no consumer for the queue somebody-elses");
});
