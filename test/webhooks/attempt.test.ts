import { expect, it } from "vitest";
import { attemptDelivery } from "../../src/webhooks/attempt.ts";
import { newWebhookSecret } from "../../src/webhooks/secret.ts";
import { receiver } from "../support/receiver.ts";

const POLICY = { allowLoopback: true, ports: [], ownPort: null, ownHost: null };
const MESSAGE = { id: "msg_1", event: "webhook.test", timestamp: 1, body: "{}" };
const TIMEOUT_MS = 150;

it.each([
  ["says nothing", "hang", { error: "no answer within 0.15 seconds" }],
  ["sends a header now and then", "drip-headers", { error: "no answer within 0.15 seconds" }],
  ["sends a byte now and then", "drip-body", { status: 200, body: expect.stringMatching(/^x{1,20}$/) }],
  ["never ends its answer", "endless", { status: 200, body: "x".repeat(1024) }],
  ["never begins its body", "no-body", { status: 200, body: "" }],
])("a receiver that %s is waited for no longer than an attempt may take", async (_, answer, expected) => {
  const began = performance.now();
  const result = await attemptDelivery(receiver(answer).url, MESSAGE, [newWebhookSecret()], 1, POLICY, 0, TIMEOUT_MS);
  expect(result).toMatchObject(expected);
  expect(performance.now() - began).toBeLessThan(TIMEOUT_MS + 1000);
});
