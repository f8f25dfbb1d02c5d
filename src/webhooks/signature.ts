import { toHex } from "../crypto/random.ts";
import { fromBase64, toBase64 } from "./secret.ts";

/** What is signed. `timestamp` is seconds. */
export interface Message {
  readonly id: string;
  readonly event: string;
  readonly timestamp: number;
  readonly body: string;
}

/**
 * The headers that prove a delivery: those of Standard Webhooks, signed once by each secret, newest first, and those of the
 * older scheme, which has room for one signature only: the newest secret's.
 */
export async function signatureHeaders(message: Message, secrets: readonly string[]): Promise<Record<string, string>> {
  const { id, event, timestamp, body } = message;
  const standard = await Promise.all(
    secrets.map(async (secret) => {
      const key = fromBase64(secret.slice("whsec_".length));
      return `v1,${toBase64(await sign(key, `${id}.${timestamp}.${body}`))}`;
    }),
  );
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": standard.join(" "),
    "x-agentauth-event": event,
    "x-agentauth-timestamp": String(timestamp),
    "x-agentauth-signature": toHex(await sign(new TextEncoder().encode(secrets[0]), body)),
  };
}

async function sign(key: Uint8Array, text: string): Promise<Uint8Array> {
  const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(text)));
}
