import { inject } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { deliver } from "../../src/webhooks/deliveries/deliver.ts";
import { emptyOutbox } from "../../src/webhooks/deliveries/fan-out.ts";
import type { Arrived } from "./upstream-server.ts";
import { world, type Answer, type Registered, type World } from "./world.ts";

let names = 0;

/** A receiver of webhooks on a real local server, under a name of its own. */
export function receiver(answers = "200") {
  const name = `receiver-${++names}-${crypto.randomUUID().slice(0, 8)}`;
  const at = async (path: string): Promise<Arrived[]> => (await fetch(`${inject("upstream")}/hooks/${path}`)).json();
  return {
    url: `${inject("upstream")}/hooks/${name}/${answers}`,
    /** What arrived, oldest first. */
    arrived: () => at(name),
    /** What followed a redirect. */
    elsewhere: () => at(`${name}-elsewhere`),
  };
}

/** A Worker whose webhooks may go to this machine, and whose tokens outlive the days that a delivery may take. */
export const hookWorld = (overrides: Record<string, unknown> = {}): World =>
  world({ WEBHOOK_ALLOW_LOOPBACK: "true", ACCESS_TOKEN_TTL_SECONDS: "2000000", ...overrides });

/** As a receiver of the older scheme reads it: hex HMAC-SHA-256 of the raw body, keyed with the whole secret string. */
export async function olderSignature(secret: string, body: string): Promise<string> {
  const bytes = new TextEncoder();
  const key = await crypto.subtle.importKey("raw", bytes.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const mac = await crypto.subtle.sign("HMAC", key, bytes.encode(body));
  return Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Registers a webhook. */
export async function hook(
  where: World,
  who: Registered,
  { url, events = ["agent.tier_updated"], ...rest }: { url: string; events?: string[]; [field: string]: unknown },
): Promise<{ id: string; secret: string }> {
  const json = { url, events, ...rest };
  const made = await where.call("/webhooks", { method: "POST", token: who.token, json });
  if (made.status !== 201) throw new Error(JSON.stringify(made.body));
  return made.body.webhook;
}

/** Lets the consumers run over all that waits: rows, outbox and the deliveries that are asked for and due. */
export async function settle(where: World): Promise<void> {
  await where.drain();
  await emptyOutbox(where.env, Date.now());
  await attempts(where);
}

/** Makes the attempts that the queue was asked for, as if their delays were over. */
export async function attempts(where: World): Promise<void> {
  const config = loadConfig(where.env);
  await Promise.all(where.asked.splice(0).map(({ deliveryId }) => deliver(where.env, config, deliveryId)));
}

/** A webhook's deliveries as its owner sees them, newest first. */
export async function deliveriesOf(where: World, who: Registered, id: string, query = ""): Promise<Answer["body"][]> {
  return (await where.call(`/webhooks/${id}/deliveries${query}`, { token: who.token })).body.deliveries;
}
