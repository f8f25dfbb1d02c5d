import { readRetryAfter, type AttemptResult } from "./schedule.ts";
import { signatureHeaders, type Message } from "./signature.ts";
import { whyNotTarget, type TargetPolicy } from "./target.ts";

/** How long a receiver may take, its answer's beginning included. */
const TIMEOUT_MS = 15_000;
/** How much of an answer is kept for its owner to read, in bytes. */
const KEPT_BYTES = 1024;

/** Sends a message once. Never throws: whatever happens is the result. */
export async function attempt(
  url: string,
  message: Message,
  secrets: readonly string[],
  policy: TargetPolicy,
  now: number,
): Promise<AttemptResult> {
  const fault = whyNotTarget(url, policy);
  if (fault) return { error: `not sent: the URL ${fault}`, final: true };
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "AgentAuth-Webhooks/1",
        ...(await signatureHeaders(message, secrets)),
      },
      body: message.body,
      // Another host was not checked, and a redirected POST may arrive as a GET.
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { status } = response;
    const retryAfter = readRetryAfter(response.headers.get("retry-after"), now);
    return { status, retryAfter, body: await beginning(response) };
  } catch (cause) {
    const late = cause instanceof Error && cause.name === "TimeoutError";
    return { error: late ? `no answer within ${TIMEOUT_MS / 1000} seconds` : "the connection failed" };
  }
}

/** What the receiver said counts, even where the rest of its answer does not come. */
async function beginning(response: Response): Promise<string> {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let left = KEPT_BYTES;
  try {
    while (left > 0) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value.subarray(0, left), { stream: true });
      left -= value.byteLength;
    }
    await reader.cancel();
  } catch {
    // Cut off, or too slow: the status stands.
  }
  return text;
}
