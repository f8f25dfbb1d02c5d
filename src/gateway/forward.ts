import type { Credential } from "./credentials.ts";
import { upstreamUrl, type Meaning } from "./decide.ts";
import { requestHeaders, responseHeaders } from "./headers.ts";
import { linkRewriter } from "./links.ts";
import { pass, type BodyEnd } from "./pass.ts";
import type { Service } from "./services.ts";

/** An upstream that gave no answer that could be passed on. */
export interface UpstreamFailure {
  readonly failure: "timeout" | "unreachable";
  readonly cause: unknown;
}

export interface Forwarded {
  readonly response: Response;
  readonly upstreamStatus: number;
  /** Settles when the body has gone through: with nothing, or with what broke it off. */
  readonly done: Promise<BodyEnd>;
}

/** A body of a kind that is not text is searched for the credential up to this length, in bytes. */
const LONGEST_SEARCHED = 1024 * 1024;

/**
 * Sends a judged request to its upstream and passes the answer on, both bodies streamed.
 *
 * One attempt: whether a request may be repeated is its sender's to know. Redirects are answered, not followed: the next
 * request is checked like any other, and the credential never travels to another host.
 *
 * @param body what to send: the request's own stream, or what its check left.
 */
export async function forward(
  request: Request,
  body: BodyInit | null,
  meaning: Meaning,
  credential: Credential,
): Promise<Forwarded | UpstreamFailure> {
  const { service } = meaning;
  const url = upstreamUrl(meaning, credential.origin);
  const { headers } = requestHeaders(request.headers, service.definition);
  for (const [name, value] of credential.headers) headers.set(name, value);

  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), service.timeoutMs);
  let answer: Response;
  try {
    answer = await fetch(url, { method: meaning.method, headers, body, redirect: "manual", signal: timeout.signal });
  } catch (cause) {
    return { failure: timeout.signal.aborted ? "timeout" : "unreachable", cause };
  } finally {
    clearTimeout(timer);
  }
  if (answer.status === 401) credential.spent?.();

  const link = (text: string) => throughGateway(text, url, service, request.url);
  const answerHeaders = responseHeaders(answer.headers, service.definition, credential.needles, link);
  const init = { status: answer.status, statusText: answer.statusText, headers: answerHeaders };
  if (!answer.body) {
    return { response: new Response(null, init), upstreamStatus: answer.status, done: Promise.resolve(undefined) };
  }

  const { needles } = credential;
  const { bodyLinks } = service.definition;
  const rewritten = bodyLinks !== undefined && answer.status !== 206 && isJson(answer.headers);
  if (rewritten) for (const name of ["content-length", ...DIGESTS]) answerHeaders.delete(name);
  const { readable, writable } = passage(answer.headers, rewritten);
  const done = pass(answer.body, writable, {
    needles: isSearched(answer.headers) ? needles : [],
    links: rewritten ? linkRewriter(bodyLinks, link) : undefined,
  });
  return { response: new Response(readable, init), upstreamStatus: answer.status, done };
}

/** What tells of the bytes of a body that are no longer those. */
const DIGESTS = ["content-md5", "digest", "content-digest", "repr-digest"];

const isJson = (headers: Headers): boolean =>
  /^application\/(?:[\w.-]+\+)?json\b/i.test(headers.get("content-type") ?? "");

/** Text of any length, and whatever else is short. */
function isSearched(headers: Headers): boolean {
  const type = headers.get("content-type");
  if (type === null || /^text\/|[/+](?:json|xml|javascript|x-www-form-urlencoded)\b|ndjson|yaml/i.test(type))
    return true;
  const length = headers.get("content-length");
  return length !== null && Number(length) <= LONGEST_SEARCHED;
}

/** A pipe that keeps the length where it is known: an encoded body has another length once it is read. */
function passage(headers: Headers, rewritten: boolean): { readable: ReadableStream; writable: WritableStream } {
  const length = headers.get("content-length");
  return length !== null && /^\d+$/.test(length) && !headers.has("content-encoding") && !rewritten
    ? new FixedLengthStream(BigInt(length))
    : new IdentityTransformStream();
}

/** A link of the upstream's as one through the gateway, from the root if it was; a link to anywhere else as it is. */
function throughGateway(text: string, base: URL, service: Service, gatewayUrl: string): string {
  const url = URL.parse(text, base);
  if (!url || url.origin !== base.origin) return text;
  const inside = url.pathname === service.basePath || url.pathname.startsWith(`${service.basePath}/`);
  if (!inside) return text;
  const rest = url.pathname.slice(service.basePath.length) + url.search + url.hash;
  return `${/^\/[^/\\]/.test(text) ? "" : new URL(gatewayUrl).origin}/proxy/${service.name}${rest}`;
}
