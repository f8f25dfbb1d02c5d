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
 * older scheme. That has room for one signature only: the attempts of a delivery take turns, so that during an overlap a
 * receiver that knows only one of the secrets gets it with the second attempt at the latest.
 *
 * @param attempts how many there have been, this one included.
 */
export async function signatureHeaders(
  message: Message,
  secrets: readonly string[],
  attempts: number,
): Promise<Record<string, string>> {
  const { id, event, timestamp, body } = message;
  const older = secrets[(attempts - 1) % secrets.length];
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
    "x-agentauth-signature": toHex(await sign(new TextEncoder().encode(older), body)),
  };
}

async function sign(key: Uint8Array, text: string): Promise<Uint8Array> {
  const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(text)));
}
