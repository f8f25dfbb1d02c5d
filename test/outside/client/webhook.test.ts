// @module-tag slow
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentAuthClient } from "../../../src/client/index.ts";
import { verifyWebhook, WebhookVerificationError } from "../../../src/client/webhook.ts";
import { startWorker, type Worker } from "../support/worker.ts";

let worker: Worker;
let server: Server;
let secret: string;
let delivery: { headers: IncomingHttpHeaders; body: string };

beforeAll(async () => {
  worker = await startWorker({ ISSUER: "https://auth.example.com", WEBHOOK_ALLOW_LOOPBACK: "true" });
  const arrived = new Promise<typeof delivery>((resolve) => {
    server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      response.end();
      resolve({ headers: request.headers, body });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { id: agentId, apiKey } = await worker.agent(["github:issues:read"]);
  await using client = new AgentAuthClient({ baseUrl: worker.url, agentId, apiKey });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  const { webhook } = await client.registerWebhook({ url, events: ["agent.verified"] });
  secret = webhook.secret;
  await client.testWebhook(webhook.id);
  delivery = await arrived;
});
afterAll(async () => {
  server?.close();
  await worker?.stop();
});

const refused = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(WebhookVerificationError);
  return (error as WebhookVerificationError).code;
};
const headers = (change: Record<string, string | undefined> = {}) =>
  ({ ...delivery.headers, ...change }) as Record<string, string | undefined>;

describe("verifyWebhook", () => {
  it("gives the event of a real delivery, from a Request and from a framework's headers and body", async () => {
    const { body } = delivery;
    const request = new Request("https://receiver.example/hook", {
      method: "POST",
      headers: headers() as Record<string, string>,
      body,
    });
    const event = await verifyWebhook(request, secret);
    expect(event).toMatchObject({ event: "webhook.test", agent_id: expect.stringMatching(/^agt_/) });
    expect(await request.json()).toEqual(event);
    expect(await verifyWebhook({ body, headers: headers() }, secret)).toEqual(event);
    expect(await verifyWebhook({ body, headers: request.headers }, ["whsec_AAAA", secret])).toEqual(event);
    const capitals = Object.fromEntries(
      Object.entries(headers()).map(([name, value]) => [name.replace(/^w/, "W"), value]),
    );
    // As HTTP/2 and some gateways have them.
    const others = { ":method": "POST", ...capitals };
    expect(await verifyWebhook({ body: Buffer.from(body), headers: others }, secret)).toEqual(event);
  });

  it("knows one good signature among several, and not by the older scheme alone", async () => {
    const { body } = delivery;
    const both = headers({ "webhook-signature": `v1,AAAA ${delivery.headers["webhook-signature"]}` });
    expect((await verifyWebhook({ body, headers: both }, secret)).event).toBe("webhook.test");
    const older = headers({ "webhook-signature": undefined });
    expect(older["x-agentauth-signature"]).toMatch(/^[0-9a-f]{64}$/);
    expect(await refused(verifyWebhook({ body, headers: older }, secret))).toBe("missing_header");
    const last = Number(delivery.headers["webhook-timestamp"]);
    vi.useFakeTimers({ toFake: ["Date"], now: (last + 3600) * 1000 });
    try {
      expect(await refused(verifyWebhook({ body, headers: headers() }, secret))).toBe("stale_timestamp");
      const old = await verifyWebhook({ body, headers: headers() }, secret, { tolerance: 3600 });
      expect(old.event).toBe("webhook.test");
    } finally {
      vi.useRealTimers();
    }
  });

  it("says what it lacks of a receiver: the raw body, the secret", async () => {
    const { body } = delivery;
    const parsed = JSON.parse(body) as string;
    await expect(verifyWebhook({ body: parsed, headers: headers() }, secret)).rejects.toThrow("express.raw");
    for (const none of ["", undefined, []] as string[]) {
      await expect(verifyWebhook({ body, headers: headers() }, none)).rejects.toThrow("Give the webhook's secret");
    }
    const read = new Request("https://receiver.example/hook", { method: "POST", body });
    await read.text();
    await expect(verifyWebhook(read, secret)).rejects.toThrow("raw body");
  });

  it("believes nothing else", async () => {
    const { body } = delivery;
    const other = `whsec_${btoa("x".repeat(32))}`;
    expect(await refused(verifyWebhook({ body, headers: headers() }, other))).toBe("wrong_signature");
    expect(await refused(verifyWebhook({ body, headers: headers() }, "not base64!"))).toBe("wrong_signature");
    expect(await refused(verifyWebhook({ body: `${body} `, headers: headers() }, secret))).toBe("wrong_signature");
    for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
      expect(await refused(verifyWebhook({ body, headers: headers({ [name]: "" }) }, secret))).toBe("missing_header");
    }
    const changed = headers({ "webhook-id": "msg_other" });
    expect(await refused(verifyWebhook({ body, headers: changed }, secret))).toBe("wrong_signature");
    const later = String(Number(delivery.headers["webhook-timestamp"]) + 1);
    expect(await refused(verifyWebhook({ body, headers: headers({ "webhook-timestamp": later }) }, secret))).toBe(
      "wrong_signature",
    );
    for (const timestamp of ["1", "NaN", "-1", "9999999999", "1e9"]) {
      const stale = headers({ "webhook-timestamp": timestamp });
      expect(await refused(verifyWebhook({ body, headers: stale }, secret))).toBe("stale_timestamp");
    }
    for (const signature of ["v1,", "v1a,AAAA", "AAAA", "v1,%%%"]) {
      const unsigned = headers({ "webhook-signature": signature });
      expect(await refused(verifyWebhook({ body, headers: unsigned }, secret))).toBe("wrong_signature");
    }
  });
});
