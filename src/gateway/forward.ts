import type { Credential } from "./credentials.ts";
import { upstreamUrl, type Meaning } from "./decide.ts";
import { cleanResponseHeaders, contentLength, requestHeaders } from "./headers.ts";
import { linkRewriter } from "./links.ts";
import { pass, readWhole, type BodyEnd } from "./pass.ts";
import { containsSecret } from "./secret-leak.ts";
import type { Service } from "./services.ts";
import { deadline, pipeOf, uploadOf } from "./upload.ts";

/** An upstream that gave no answer that could be passed on. */
export interface UpstreamFailure {
  readonly failure: "timeout" | "unreachable" | "encoded" | NonNullable<BodyEnd>;
  /** Where its answer had begun. */
  readonly upstreamStatus?: number;
  readonly cause?: unknown;
}

export interface Forwarded {
  readonly response: Response;
  readonly upstreamStatus: number;
  /** How the body ended; undefined for one that is whole already. */
  readonly done: Promise<BodyEnd> | undefined;
}

/** Of a body of a kind that is not text so much is searched for the credential, in bytes, and then as long as it looks like text. */
const MAX_SEARCHED_BINARY = 1024 * 1024;

/** Up to this length, in bytes, a body that is searched or changed is read whole before the answer begins: nothing is gained by streaming it. */
const LONGEST_WHOLE = 64 * 1024;

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
  const headers = requestHeaders(request.headers, service.definition);
  for (const [name, value] of credential.headers) headers[name] = value;

  const upload = uploadOf(body, request.headers);
  const { late, stop } = deadline(service.timeoutMs, upload?.sent);
  const init: RequestInit = { method: meaning.method, headers, body: upload?.body ?? body, redirect: "manual" };
  let answer: Response | undefined;
  try {
    answer = await Promise.race([fetch(url.href, init), late]);
  } catch (cause) {
    return { failure: "unreachable", cause };
  } finally {
    stop();
  }
  if (!answer) return { failure: "timeout" };
  // A switch of protocols that nobody asked for.
  if (answer.status < 200) return { failure: "unreachable" };
  if (answer.status === 401) credential.spent?.();

  const { definition } = service;
  const { status, headers: received } = answer;
  const link = (text: string) => throughGateway(text, url, service, originOf(request.url));
  const statusText = containsSecret(answer.statusText, credential.secretEncodings) ? "" : answer.statusText;
  const answered = (content: BodyInit | null): Response => {
    const response = new Response(content, { status, statusText, headers: received });
    cleanResponseHeaders(response.headers, received, definition, credential.secretEncodings, link);
    return response;
  };
  const ended = { upstreamStatus: status, done: undefined };
  if (meaning.method === "HEAD" || BODILESS.has(status)) return { response: answered(null), ...ended };
  const searched = searchedLength(received);
  const { secretEncodings } = credential;
  if (secretEncodings.length > 0 && !DECODED.test(received.get("content-encoding") ?? "")) {
    await answer.body?.cancel();
    return { failure: "encoded", upstreamStatus: status };
  }
  const links =
    definition.bodyLinks && status !== 206 && isJson(received) ? linkRewriter(definition.bodyLinks, link) : undefined;
  const rewritten = (content: BodyInit | null): Response => {
    const response = answered(content);
    if (links) for (const name of ["content-length", ...DIGESTS]) response.headers.delete(name);
    return response;
  };

  const length = lengthOf(received);
  if ((links || secretEncodings.length > 0) && length !== undefined && length <= LONGEST_WHOLE) {
    const whole = await readWhole(answer, { secretEncodings, links });
    return "failure" in whole ? { ...whole, upstreamStatus: status } : { response: rewritten(whole.body), ...ended };
  }
  if (!answer.body) return { response: rewritten(null), ...ended };
  const { readable, writable } = pipeOf(links ? undefined : length);
  const done = pass(answer.body, writable, { secretEncodings, links, searched }, length);
  return { response: rewritten(readable), upstreamStatus: status, done };
}

/** The codings that the runtime undoes where a body is read, in just these letters: under any other the credential would not be found. */
const DECODED = /^(?:gzip|br|identity)?$/;

/** Statuses whose answers have no body (RFC 9110 §15). */
const BODILESS = new Set([204, 205, 304]);

/** What tells of the bytes of a body that are no longer those. */
const DIGESTS = ["content-md5", "digest", "content-digest", "repr-digest"];

const isJson = (headers: Headers): boolean =>
  /^application\/(?:[\w.-]+\+)?json\b/i.test(headers.get("content-type") ?? "");

/** How many bytes of a body are searched at least: all of a text, and the beginning of what may be none. */
function searchedLength(headers: Headers): number {
  const type = headers.get("content-type");
  return type === null || /^text\/|[/+](?:json|xml|javascript|x-www-form-urlencoded)\b|ndjson|yaml/i.test(type)
    ? Infinity
    : MAX_SEARCHED_BINARY;
}

/** The length of the body as it is read: an encoded one has another than its header says. */
const lengthOf = (headers: Headers): number | undefined =>
  headers.has("content-encoding") ? undefined : contentLength(headers);

const originOf = (url: string): string => url.slice(0, url.indexOf("/", url.indexOf("://") + 3));

/** A link of the upstream's as one through the gateway, from the root if it was; a link to anywhere else as it is. */
function throughGateway(text: string, base: URL, service: Service, gatewayOrigin: string): string {
  const own = base.origin + service.basePath;
  const through = `/proxy/${service.name}`;
  if (text.startsWith(`${own}/`)) return gatewayOrigin + through + text.slice(own.length);
  const url = URL.parse(text, base);
  if (!url || url.origin !== base.origin) return text;
  const inside = url.pathname === service.basePath || url.pathname.startsWith(`${service.basePath}/`);
  // Whoever takes it from the root would ask the gateway itself.
  if (!inside) return url.href;
  const rest = url.pathname.slice(service.basePath.length) + url.search + url.hash;
  return (/^\/[^/\\]/.test(text) ? "" : gatewayOrigin) + through + rest;
}
