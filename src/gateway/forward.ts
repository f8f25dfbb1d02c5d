import type { Credential } from "./credentials.ts";
import { upstreamUrl, type Meaning } from "./decide.ts";
import { requestHeaders, responseHeaders } from "./headers.ts";
import { isRead } from "./rule.ts";

/** An upstream that gave no answer that could be passed on. */
export interface UpstreamFailure {
  readonly failure: "timeout" | "unreachable";
  readonly cause: unknown;
}

export interface Forwarded {
  readonly response: Response;
  readonly upstreamStatus: number;
  /** Settles when the body has gone through: with nothing, or with what broke it off. */
  readonly done: Promise<unknown>;
}

/**
 * Sends a judged request to its upstream and passes the answer on, both bodies streamed.
 *
 * One attempt: whether a request may be repeated is its sender's to know. Redirects are answered, not followed: the next
 * request is checked like any other, and the credential never travels to another host.
 */
export async function forward(
  request: Request,
  meaning: Meaning,
  credential: Credential,
  gatewayOrigin: string,
): Promise<Forwarded | UpstreamFailure> {
  const { service } = meaning;
  const url = upstreamUrl(meaning, credential.origin);
  const { headers } = requestHeaders(request.headers, service.definition);
  for (const [name, value] of credential.headers) headers.set(name, value);

  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), service.timeoutMs);
  let answer: Response;
  try {
    answer = await fetch(url, {
      method: meaning.method,
      headers,
      body: isRead(meaning.method) ? null : request.body,
      redirect: "manual",
      signal: timeout.signal,
    });
  } catch (cause) {
    return { failure: timeout.signal.aborted ? "timeout" : "unreachable", cause };
  } finally {
    clearTimeout(timer);
  }

  const link = (text: string) => throughGateway(text, url, meaning, gatewayOrigin);
  const answerHeaders = responseHeaders(answer.headers, service.definition, credential.secrets, link);
  const init = { status: answer.status, statusText: answer.statusText, headers: answerHeaders };
  if (!answer.body) {
    return { response: new Response(null, init), upstreamStatus: answer.status, done: Promise.resolve() };
  }
  const { readable, writable } = passage(answer);
  const done = answer.body.pipeTo(writable).then(
    () => undefined,
    (cause: unknown) => cause ?? new Error("broken off"),
  );
  return { response: new Response(readable, init), upstreamStatus: answer.status, done };
}

/** A pipe that keeps the length where the upstream gave one: an encoded body has another length once it is read. */
function passage(answer: Response): { readable: ReadableStream; writable: WritableStream } {
  const length = answer.headers.get("content-length");
  return length !== null && /^\d+$/.test(length) && !answer.headers.has("content-encoding")
    ? new FixedLengthStream(BigInt(length))
    : new IdentityTransformStream();
}

/** A link of the upstream's as one through the gateway; a link to anywhere else as it is. */
function throughGateway(text: string, base: URL, { service }: Meaning, gatewayOrigin: string): string {
  if (!URL.canParse(text, base)) return text;
  const url = new URL(text, base);
  const inside = url.pathname === service.basePath || url.pathname.startsWith(`${service.basePath}/`);
  if (url.origin !== base.origin || !inside) return text;
  const rest = url.pathname.slice(service.basePath.length) + url.search + url.hash;
  return `${gatewayOrigin}/proxy/${service.name}${rest}`;
}
