import { AgentAuthError } from "./errors.ts";
import type { WebhookEvent } from "./wire.ts";

export type { WebhookEvent };

/** A delivery was refused. The code is `missing_header`, `stale_timestamp`, `wrong_signature` or `malformed_body`. */
export class WebhookVerificationError extends AgentAuthError {
  override readonly name: string = "WebhookVerificationError";
}

/** A delivery as a framework gives it. The body must be raw, because the signature is over its bytes. */
export interface RawDelivery {
  readonly body: string | Uint8Array;
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface VerifyWebhookOptions {
  /** How many seconds the delivery's timestamp may differ from this clock. The default is 300. */
  readonly tolerance?: number;
}

/**
 * Verifies the signature of a delivery (Standard Webhooks) and returns its event, whose `event` determines the type of its `data`.
 *
 * A delivery may arrive more than once, each time with the same `webhook-id` header: store the ids that you have processed. The
 * header of the older scheme, `X-AgentAuth-Signature`, is not accepted, because it leaves the timestamp unsigned.
 *
 * @example
 * const event = await verifyWebhook(request, process.env.WEBHOOK_SECRET);
 * if (event.event === "agent.revoked") console.log(event.data.revoked_by);
 *
 * @param secret `whsec_…`, as it was shown when the webhook was registered; several while the secret is being changed.
 * @throws {WebhookVerificationError} `missing_header`, `stale_timestamp`, `wrong_signature` or `malformed_body`.
 * @throws {TypeError} There is no secret, or the body is not raw.
 */
export async function verifyWebhook(
  delivery: Request | RawDelivery,
  secret: string | readonly string[],
  { tolerance = 300 }: VerifyWebhookOptions = {},
): Promise<WebhookEvent> {
  const secrets = [secret].flat().filter(Boolean);
  if (secrets.length === 0) throw new TypeError("Give the webhook's secret: whsec_… as it was shown once.");
  const body = await rawBody(delivery);
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) =>
    headerOf(delivery.headers, `webhook-${name}`),
  );
  if (!id || !timestamp || !signatures) {
    throw refused("missing_header", "The delivery lacks webhook-id, webhook-timestamp or webhook-signature.");
  }
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!/^\d+$/.test(timestamp) || age > tolerance) {
    throw refused("stale_timestamp", `The delivery's timestamp is ${Math.round(age)} seconds away from this clock.`);
  }
  const sent = signatures.split(" ").filter((one) => one.startsWith("v1,"));
  for (const one of secrets) {
    for (const signature of sent) {
      if (await isSignedBy(one, signature.slice(3), `${id}.${timestamp}.${body}`)) return eventOf(body);
    }
  }
  throw refused("wrong_signature", "No signature of the delivery was made with this secret. Was the body changed?");
}

async function rawBody(delivery: Request | RawDelivery): Promise<string> {
  if ("clone" in delivery && !delivery.bodyUsed) return delivery.clone().text();
  const { body } = delivery;
  if (typeof body === "string") return body;
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  throw new TypeError(
    "verifyWebhook needs the raw body, as it came. With Express: express.raw({ type: 'application/json' }) on this route.",
  );
}

/** The value of a header, in any case of its name. A header that occurs twice counts as missing. */
function headerOf(headers: RawDelivery["headers"], name: string): string | undefined {
  if (typeof headers.get === "function") return (headers as Headers).get(name) ?? undefined;
  const value = Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  return typeof value === "string" ? value : undefined;
}

/** Whether the signature is the HMAC of the text. WebCrypto compares in constant time. */
async function isSignedBy(secret: string, signature: string, text: string): Promise<boolean> {
  const [key, mac] = [bytesOf(secret.replace(/^whsec_/, "")), bytesOf(signature)];
  if (!key || !mac) return false;
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, hmac, false, ["verify"]);
  return crypto.subtle.verify("HMAC", imported, mac, new TextEncoder().encode(text));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function eventOf(body: string): WebhookEvent {
  try {
    return JSON.parse(body) as WebhookEvent;
  } catch {
    throw refused("malformed_body", "The delivery's body is not JSON.");
  }
}

const refused = (code: string, message: string): WebhookVerificationError =>
  new WebhookVerificationError({ status: 0, code, message });
