import { expect } from "vitest";
import {
  admin,
  atLeast,
  call,
  exactly,
  isError,
  isPagination,
  isWebhook,
  newAgent,
  RECEIVER,
  type Agent,
} from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

const by = ({ token }: Agent, method: string, path: string, json?: unknown) => call(method, path, { token, json });
const byAdmin = (method: string, path: string, json?: unknown) => by(admin, method, path, json);

/** An agent with a webhook. */
async function hook() {
  const owner = await newAgent();
  const made = await by(owner, "POST", "/webhooks", {
    url: RECEIVER,
    events: ["agent.verified"],
    description: "tests",
  });
  return { owner, made, id: made.body.webhook.id as string, path: `/webhooks/${made.body.webhook.id}` };
}

export const webhookEndpoints = {
  async "POST /webhooks"() {
    const { owner, made } = await hook();
    exactly(made, 201, "success message webhook");
    isWebhook(made.body.webhook, "shown");
    expect(made.body.webhook).toMatchObject({ agent_id: owner.id, url: RECEIVER, events: ["agent.verified"] });
    for (const url of ["http://hooks.example.com/", "https://169.254.169.254/", "https://localhost/", "nonsense"]) {
      isError(await by(owner, "POST", "/webhooks", { url, events: ["agent.verified"] }), 400);
    }
    isError(await by(owner, "POST", "/webhooks", { url: RECEIVER, events: ["nonsense"] }), 400);
  },

  async "GET /webhooks"() {
    const { owner, id } = await hook();
    const answer = await by(owner, "GET", "/webhooks");
    atLeast(answer, 200, "success webhooks");
    expect(answer.body.webhooks.map((one: { id: string }) => one.id)).toEqual([id]);
    isWebhook(answer.body.webhooks[0], "hidden");
    expect(answer.body.details[id]).toEqual({ is_active: true, disabled_reason: null, description: "tests" });
    const listed = await byAdmin("GET", `/webhooks?agent_id=${owner.id}`);
    expect(listed.body.webhooks).toEqual(answer.body.webhooks);
  },

  async "GET /webhooks/{id}"() {
    const { owner, path } = await hook();
    const answer = await by(owner, "GET", path);
    atLeast(answer, 200, "success webhook");
    isWebhook(answer.body.webhook, "hidden");
    isError(await by(owner, "GET", "/webhooks/whk_000000000000000000000000"), 404);
  },

  async "PUT /webhooks/{id}"() {
    const { owner, path } = await hook();
    const json = { url: `${RECEIVER}?2`, events: ["agent.revoked"], is_active: false, description: "changed" };
    const answer = await by(owner, "PUT", path, json);
    atLeast(answer, 200, "success webhook");
    isWebhook(answer.body.webhook, "hidden");
    expect(answer.body.webhook).toMatchObject({ url: `${RECEIVER}?2`, events: ["agent.revoked"] });
    isError(await by(owner, "PUT", path, { events: [] }), 400);
  },

  async "DELETE /webhooks/{id}"() {
    const { owner, path } = await hook();
    atLeast(await by(owner, "DELETE", path), 200, "success message");
    isError(await by(owner, "GET", path), 404);
  },

  async "POST /webhooks/{id}/regenerate-secret"() {
    const { owner, path, made } = await hook();
    const answer = await by(owner, "POST", `${path}/regenerate-secret`, { overlap_seconds: 60 });
    atLeast(answer, 200, "success message webhook");
    isWebhook(answer.body.webhook, "shown");
    expect(answer.body.webhook.secret).not.toBe(made.body.webhook.secret);
    atLeast(await by(owner, "POST", `${path}/regenerate-secret`), 200, "success message webhook");
  },

  async "GET /webhooks/{id}/deliveries"() {
    const { owner, path } = await hook();
    const { body } = await by(owner, "POST", `${path}/test`);
    const answer = await by(owner, "GET", `${path}/deliveries?limit=10&offset=0`);
    atLeast(answer, 200, "success deliveries pagination");
    isPagination(answer.body.pagination);
    expect(answer.body.deliveries.map((one: { id: string }) => one.id)).toEqual([body.delivery.id]);
    isError(await by(owner, "GET", `${path}/deliveries?status=nonsense`), 400);
  },

  async "GET /webhooks/{id}/deliveries/{delivery_id}"() {
    const { owner, path, id } = await hook();
    const { body } = await by(owner, "POST", `${path}/test`);
    const answer = await by(owner, "GET", `${path}/deliveries/${body.delivery.id}`);
    exactly(answer, 200, "success delivery request_body attempts");
    expect(JSON.parse(answer.body.request_body)).toMatchObject({ event: "webhook.test", data: { webhook_id: id } });
    isError(await by(owner, "GET", `${path}/deliveries/msg_0`), 404);
  },

  async "POST /webhooks/{id}/deliveries/{delivery_id}/redeliver"() {
    const { owner, path } = await hook();
    const { body } = await by(owner, "POST", `${path}/test`);
    const answer = await by(owner, "POST", `${path}/deliveries/${body.delivery.id}/redeliver`);
    // A delivery whose attempt is under way is not started again.
    if (answer.status === 409) isError(answer, 409, "delivery_pending");
    else atLeast(answer, 200, "success message delivery");
    isError(await by(owner, "POST", `${path}/deliveries/msg_0/redeliver`), 404);
  },

  async "POST /webhooks/{id}/test"() {
    const { owner, path, id } = await hook();
    const answer = await by(owner, "POST", `${path}/test`);
    atLeast(answer, 200, "success message delivery");
    expect(answer.body.delivery).toMatchObject({ webhook_id: id, status: "pending" });
  },

  async "GET /deliveries"() {
    const { owner, path, id } = await hook();
    const { body } = await by(owner, "POST", `${path}/test`);
    const answer = await byAdmin("GET", `/deliveries?webhook_id=${id}&event=webhook.test&limit=200`);
    exactly(answer, 200, "success deliveries next_cursor");
    expect(answer.body.deliveries.map((one: { id: string }) => one.id)).toEqual([body.delivery.id]);
    expect(answer.body.next_cursor).toBeNull();
    isError(await byAdmin("GET", "/deliveries?from=yesterday"), 400);
  },

  async "POST /deliveries/redeliver"() {
    const { id } = await hook();
    const answer = await byAdmin("POST", "/deliveries/redeliver", { filter: { webhook_id: id } });
    exactly(answer, 200, "success message matched redelivered remaining next_cursor");
    expect(answer.body).toMatchObject({ matched: 0, redelivered: 0, remaining: 0 });
    isError(await byAdmin("POST", "/deliveries/redeliver", { filter: {} }), 400);
  },

  async "GET /webhooks/events"() {
    const answer = await call("GET", "/webhooks/events");
    atLeast(answer, 200, "events");
    expect(answer.body.events).toEqual(
      expect.arrayContaining([
        "agent.registered",
        "agent.verified",
        "agent.verification_failed",
        "agent.revoked",
        "agent.status_updated",
        "agent.tier_updated",
        "agent.permissions_updated",
        "agent.deleted",
        "agent.key_rotated",
        "token.reuse_detected",
        "gateway.denied",
      ]),
    );
  },
} satisfies Partial<Record<Endpoint, Check>>;
