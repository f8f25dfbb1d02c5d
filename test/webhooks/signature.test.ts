import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { newEncryptionKey } from "../../scripts/secrets.ts";
import { signatureHeaders } from "../../src/webhooks/signature.ts";
import { newWebhookSecret, openSecret, sealSecret } from "../../src/webhooks/secret.ts";
import { olderSignature } from "../support/receiver.ts";

const now = Math.floor(Date.now() / 1000);
const message = { id: "msg_1", event: "agent.revoked", timestamp: now, body: '{"id":"evt_1","naïve":"✓"}' };

describe("a signed delivery", () => {
  const [secret, former, other] = [newWebhookSecret(), newWebhookSecret(), newWebhookSecret()];

  it("is verified by the public library, and by no other secret", async () => {
    const headers = await signatureHeaders(message, [secret], 1);
    expect(new Webhook(secret).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    expect(() => new Webhook(other).verify(message.body, headers)).toThrow("No matching signature");
  });

  it("is verified by both secrets during an overlap, and by the older scheme with each in turn", async () => {
    const headers = await signatureHeaders(message, [secret, former], 1);
    expect(headers["webhook-signature"]).toMatch(/^v1,[A-Za-z0-9+/]{43}= v1,[A-Za-z0-9+/]{43}=$/);
    for (const good of [secret, former]) expect(new Webhook(good).verify(message.body, headers)).toBeTruthy();
    expect(() => new Webhook(other).verify(message.body, headers)).toThrow();
    expect(headers["x-agentauth-signature"]).toBe(await olderSignature(secret, message.body));
    const second = await signatureHeaders(message, [secret, former], 2);
    expect(second["webhook-signature"]).toBe(headers["webhook-signature"]);
    expect(second["x-agentauth-signature"]).toBe(await olderSignature(former, message.body));
    expect(headers["x-agentauth-event"]).toBe(message.event);
    expect(headers["x-agentauth-timestamp"]).toBe(String(now));
  });

  it.each([
    ["body", { body: message.body.replace("1", "2") }],
    ["id", { id: "msg_2" }],
    ["timestamp", { timestamp: now + 1 }],
  ])("is not verified with another %s", async (_, change) => {
    const headers = await signatureHeaders(message, [secret], 1);
    const changed = { ...message, ...change };
    const claimed = { ...headers, "webhook-id": changed.id, "webhook-timestamp": String(changed.timestamp) };
    expect(() => new Webhook(secret).verify(changed.body, claimed)).toThrow("No matching signature");
  });

  it("is too old for the library after five minutes", async () => {
    const headers = await signatureHeaders({ ...message, timestamp: now - 301 }, [secret], 1);
    expect(() => new Webhook(secret).verify(message.body, headers)).toThrow("too old");
  });
});

describe("a secret", () => {
  const [old, fresh] = [newEncryptionKey(), newEncryptionKey()];

  it("is whsec_ and base64 of 32 bytes, another each time", () => {
    const secrets = Array.from({ length: 50 }, newWebhookSecret);
    expect(new Set(secrets).size).toBe(50);
    for (const one of secrets) {
      expect(one).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
      expect(atob(one.slice(6))).toHaveLength(32);
    }
  });

  it("is kept encrypted, under the newest key, which its row names", async () => {
    const secret = newWebhookSecret();
    const kept = await sealSecret(secret, "whk_1", [fresh, old]);
    expect(kept).not.toContain(secret.slice(6, 20));
    expect(JSON.parse(kept)).toMatchObject({ kid: fresh.kid });
    expect(await openSecret(kept, "whk_1", [fresh])).toBe(secret);
    expect(await sealSecret(secret, "whk_1", [fresh])).not.toBe(kept);
  });

  it("is opened by the key it is under, wherever that stands, and by no other", async () => {
    const kept = await sealSecret("whsec_x", "whk_1", [old]);
    expect(await openSecret(kept, "whk_1", [fresh, old])).toBe("whsec_x");
    await expect(openSecret(kept, "whk_1", [fresh])).rejects.toThrow(`WEBHOOK_KEYS has no key with the kid ${old.kid}`);
    await expect(openSecret(kept, "whk_1", [{ ...fresh, kid: old.kid }])).rejects.toThrow();
  });

  it("is not opened for another webhook, nor after a change of a single bit", async () => {
    const kept = await sealSecret("whsec_x", "whk_1", [old]);
    await expect(openSecret(kept, "whk_2", [old])).rejects.toThrow();
    const { data, ...rest } = JSON.parse(kept) as { data: string };
    const changed = (data.startsWith("A") ? "B" : "A") + data.slice(1);
    await expect(openSecret(JSON.stringify({ ...rest, data: changed }), "whk_1", [old])).rejects.toThrow();
  });
});
