import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { expect, it, vi } from "vitest";
import worker from "../../src/index.ts";
import { world } from "../support/world.ts";

it.each([
  [1, ["good", "bad"], 0],
  [3, ["bad"], 1],
])("On attempt %i of a batch with a message that cannot be written, %j come again", async (attempts, again, rows) => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {});
  const self = world();
  const { id, token } = await self.agent();
  const good = { ...self.sent.at(-1)!, message: "good" };
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
  expect((await self.call(`/agents/${id}/activity`, { token })).body.activity).toHaveLength(rows);
});
