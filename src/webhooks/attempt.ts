import { readRetryAfter } from "../validation/retry-after.ts";
import type { AttemptResult } from "./schedule.ts";
import { signatureHeaders, type Message } from "./signature.ts";
import { validateTarget, type TargetPolicy } from "./target.ts";

/** How long a receiver may take to send the beginning of its response, in milliseconds. */
const TIMEOUT_MS = 15_000;
/** How much of a response is stored for the webhook's owner, in bytes. */
const MAX_KEPT_RESPONSE_BYTES = 1024;

/**
 * Sends a message once. Never rejects: every failure is a result.
 *
 * @param attempts the number of attempts, this one included.
 * @param now milliseconds.
 */
export async function attemptDelivery(
  url: string,
  message: Message,
  secrets: readonly string[],
  attempts: number,
  policy: TargetPolicy,
  now: number,
  timeoutMs = TIMEOUT_MS,
): Promise<AttemptResult> {
  const fault = validateTarget(url, policy);
  if (fault) return { error: `not sent: the URL ${fault}`, final: true };
  const began = Date.now();
  const durationMs = (): number => Math.max(0, Date.now() - began);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "AgentAuth-Webhooks/1",
        ...(await signatureHeaders(message, secrets, attempts)),
      },
      body: message.body,
      // The redirect's host was not checked, and a redirected POST may arrive as a GET.
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
    });
    const { status } = response;
    const retryAfter = readRetryAfter(response.headers.get("retry-after"), now);
    const took = durationMs();
    return { status, retryAfter, body: await readBeginning(response), durationMs: took };
  } catch (cause) {
    const late = cause instanceof Error && cause.name === "TimeoutError";
    const error = late ? `no answer within ${timeoutMs / 1000} seconds` : "the connection failed";
    return { error, durationMs: durationMs() };
  }
}

/** Returns the beginning of a response's body, or the part that arrived: the status counts even if the body breaks off. */
async function readBeginning(response: Response): Promise<string> {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let left = MAX_KEPT_RESPONSE_BYTES;
  try {
    while (left > 0) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value.subarray(0, left), { stream: true });
      left -= value.byteLength;
    }
    await reader.cancel();
  } catch {
    // The body broke off or was too slow.
  }
  return text;
}
