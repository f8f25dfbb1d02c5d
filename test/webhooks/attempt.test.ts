import { expect, it } from "vitest";
import { attemptDelivery } from "../../src/webhooks/attempt.ts";
import { newWebhookSecret } from "../../src/webhooks/secret.ts";
import { receiver } from "../support/receiver.ts";

const POLICY = { allowLoopback: true, ports: [], ownPort: null, ownHost: null };
const MESSAGE = { id: "msg_1", event: "webhook.test", timestamp: 1, body: "{}" };
/** Long enough for a busy machine to make the connection, and for what comes over it at once. */
const TIMEOUT_MS = 1000;

it.concurrent.each([
  ["says nothing", "hang", { error: "no answer within 1 seconds" }],
  ["sends a header now and then", "drip-headers", { error: "no answer within 1 seconds" }],
  ["sends a byte now and then", "drip-body", { status: 200, body: expect.stringMatching(/^x{1,200}$/) }],
  ["never ends its answer", "endless", { status: 200, body: "x".repeat(1024) }],
  ["never begins its body", "no-body", { status: 200, body: "" }],
])("a receiver that %s is waited for no longer than an attempt may take", async (_, answer, expected) => {
  const result = await attemptDelivery(receiver(answer).url, MESSAGE, [newWebhookSecret()], 1, POLICY, 0, TIMEOUT_MS);
  expect(result).toMatchObject(expected);
});
