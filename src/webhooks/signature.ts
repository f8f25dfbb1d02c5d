import { toHex } from "../crypto/random.ts";
import { fromBase64, toBase64 } from "../crypto/base64.ts";

/** A message to sign. `timestamp` is seconds. */
export interface Message {
  readonly id: string;
  readonly event: string;
  readonly timestamp: number;
  readonly body: string;
}

/**
 * Returns the headers that sign a delivery: those of Standard Webhooks, with one signature for each secret, and those of the older
 * scheme, which allow one signature. In the older scheme the attempts use the secrets in turn, so that during an overlap a receiver
 * that has one of the two secrets can verify the first or the second attempt.
 *
 * @param secrets newest first.
 * @param attempts the number of attempts, this one included.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
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
