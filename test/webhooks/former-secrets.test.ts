import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newEncryptionKey } from "../../scripts/secrets.ts";
import { verifyWebhook } from "../../src/client/webhook.ts";
import { loadConfig } from "../../src/config/config.ts";
import { resealSecrets, sweepFormerSecrets } from "../../src/webhooks/reseal.ts";
import { openSecret } from "../../src/webhooks/secret.ts";
import { attempts, deliveriesOf, hook, hookWorld, receiver } from "../support/receiver.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const HOUR = 3_600_000;

const self = hookWorld();
let agent: Registered;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  agent = await self.agent();
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await env.DB.prepare("DELETE FROM webhooks").run();
});

const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

async function regenerate(where: World, id: string, overlap_seconds?: number): Promise<string> {
  const json = overlap_seconds === undefined ? {} : { overlap_seconds };
  const init = { method: "POST", token: agent.token, json };
  const { status, body } = await where.call(`/webhooks/${id}/regenerate-secret`, init);
  expect(status).toBe(200);
  return body.webhook.secret;
}

/** Sends a test event and returns which of the secrets verify it, and how many signatures it has. */
async function signed(where: World, id: string, at: ReturnType<typeof receiver>, secrets: readonly string[]) {
  await where.call(`/webhooks/${id}/test`, { method: "POST", token: agent.token });
  await attempts(where);
  const { headers, body } = (await at.arrived()).at(-1)!;
  const verifies = (secret: string): boolean => {
    try {
      new Webhook(secret).verify(body, headers);
      return true;
    } catch {
      return false;
    }
  };
  return {
    by: secrets.map(verifies),
    signatures: headers["webhook-signature"]!.split(" ").length,
    delivery: { headers, body },
  };
}

const kept = (id: string) =>
  env.DB.prepare("SELECT count(*) AS n FROM former_webhook_secrets WHERE webhook_id = ?").bind(id).first("n");

describe("a secret that is regenerated within its overlap", () => {
  it("leaves the receiver the one that it has, each until its own overlap ends", SLOW, async () => {
    const at = receiver();
    const { id, secret: first } = await hook(self, agent, { url: at.url });
    const second = await regenerate(self, id, 3600);
    later(1000);
    const third = await regenerate(self, id, 60);
    const all = [first, second, third];
    const during = await signed(self, id, at, all);
    expect(during).toMatchObject({ by: [true, true, true], signatures: 3 });
    for (const known of [first, [second, "whsec_AAAA"], all]) {
      expect(await verifyWebhook(during.delivery, known)).toMatchObject({ event: "webhook.test" });
    }
    later(61_000);
    expect(await signed(self, id, at, all)).toMatchObject({ by: [true, false, true], signatures: 2 });
    later(HOUR);
    expect(await signed(self, id, at, all)).toMatchObject({ by: [false, false, true], signatures: 1 });
    await sweepFormerSecrets(env.DB, Date.now(), 100);
    expect(await kept(id)).toBe(0);
  });

  it("keeps five at most, the newest of them, also of callers at once", SLOW, async () => {
    const at = receiver();
    const { id, secret } = await hook(self, agent, { url: at.url });
    const all = [secret];
    for (let n = 0; n < 6; n++) {
      later(1000);
      all.push(await regenerate(self, id, 3600));
    }
    expect(await signed(self, id, at, all)).toMatchObject({
      by: [false, false, true, true, true, true, true],
      signatures: 5,
    });
    const fresh = await Promise.all([1, 2, 3, 4].map(() => regenerate(self, id, 3600)));
    expect(await signed(self, id, at, fresh)).toMatchObject({ by: [true, true, true, true], signatures: 5 });
    expect(await kept(id)).toBe(3);
  });

  it("ends all of them without an overlap, and those of a webhook that is deleted", SLOW, async () => {
    const at = receiver();
    const { id, secret } = await hook(self, agent, { url: at.url });
    const all = [secret];
    for (let n = 0; n < 3; n++) all.push(await regenerate(self, id, 3600));
    expect(await kept(id)).toBe(2);
    all.push(await regenerate(self, id));
    expect(await signed(self, id, at, all)).toMatchObject({ by: [false, false, false, false, true], signatures: 1 });
    expect(await kept(id)).toBe(0);
    for (let n = 0; n < 3; n++) await regenerate(self, id, 3600);
    await self.call(`/webhooks/${id}`, { method: "DELETE", token: agent.token });
    expect(await kept(id)).toBe(0);
  });

  it("is not another agent's to end", SLOW, async () => {
    const { id } = await hook(self, agent, { url: receiver().url });
    for (let n = 0; n < 3; n++) await regenerate(self, id, 3600);
    const stranger = await self.agent();
    for (const json of [{}, { overlap_seconds: 60 }]) {
      const init = { method: "POST", token: stranger.token, json };
      expect((await self.call(`/webhooks/${id}/regenerate-secret`, init)).status).toBe(404);
    }
    expect(await kept(id)).toBe(2);
  });
});

describe("a new encryption key", () => {
  it("encrypts every secret anew, so that the older key can go", SLOW, async () => {
    const at = receiver();
    const { id, secret } = await hook(self, agent, { url: at.url });
    const all = [secret];
    for (let n = 0; n < 4; n++) all.push(await regenerate(self, id, 3600));
    const before = loadConfig(self.env).webhookKeys[0]!;
    const fresh = newEncryptionKey();
    expect(await resealSecrets(env.DB, [fresh, before], Date.now(), 500)).toBe(4);
    const alone = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [fresh] }) });
    expect(await signed(alone, id, at, all)).toMatchObject({ by: [true, true, true, true, true], signatures: 5 });
    expect(await resealSecrets(env.DB, [fresh, before], Date.now(), 500)).toBe(0);
  });

  it(
    "does not wait for secrets that cannot be decrypted: they are set aside, logged, and tried again in an hour",
    SLOW,
    async () => {
      const errors = vi.spyOn(console, "error").mockImplementation(() => {});
      const before = loadConfig(self.env).webhookKeys[0]!;
      const broken = await hook(self, agent, { url: receiver().url });
      for (let n = 0; n < 3; n++) await regenerate(self, broken.id, 3600);
      const good = await hook(self, agent, { url: receiver().url });
      const sealed = JSON.stringify({ kid: before.kid, iv: "AAAAAAAAAAAAAAAA", data: "AAAA" });
      await env.DB.batch([
        env.DB.prepare("UPDATE webhooks SET secret = ? WHERE id = ?").bind(sealed, broken.id),
        env.DB.prepare(
          "UPDATE former_webhook_secrets SET secret = ? WHERE secret = (SELECT min(secret) FROM former_webhook_secrets)",
        ).bind(JSON.stringify({ kid: before.kid, iv: 7, data: null })),
        // So many that a step handles no others.
        env.DB.prepare(
          `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
         INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at)
         SELECT 'whk_0' || i, agent_id, url, events, secret, 0, 0 FROM n, webhooks WHERE id = ?`,
        ).bind(broken.id),
      ]);
      const fresh = newEncryptionKey();
      const keys = [fresh, before];
      for (let step = 0; (await resealSecrets(env.DB, keys, Date.now(), 500)) === 500; step++)
        expect(step).toBeLessThan(5);
      const row = await env.DB.prepare("SELECT secret FROM webhooks WHERE id = ?")
        .bind(good.id)
        .first<string>("secret");
      expect(await openSecret(row!, good.id, [fresh])).toBe(good.secret);
      expect(errors.mock.calls.flat().join("\n")).toContain(`"webhook_id":"${broken.id}"`);
      expect(errors.mock.calls.flat().join("\n")).not.toContain("whsec_");

      const logged = errors.mock.calls.length;
      expect(await resealSecrets(env.DB, keys, Date.now(), 500)).toBe(0);
      expect(errors.mock.calls.length).toBe(logged);
      later(HOUR + 1);
      await resealSecrets(env.DB, keys, Date.now(), 500);
      expect(errors.mock.calls.length).toBeGreaterThan(logged);

      // Its owner replaces it by a new secret.
      const promoted = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys }) });
      await regenerate(promoted, broken.id);
      await promoted.call(`/webhooks/${broken.id}/test`, { method: "POST", token: agent.token });
      await attempts(promoted);
      expect((await deliveriesOf(promoted, agent, broken.id))[0]).toMatchObject({ status: "success" });
    },
  );
});
