import { ApiError } from "../../http/errors.ts";
import type { CallerWatch } from "../caller-watch.ts";
import type { BodyToSend } from "../../policy/body.ts";
import type { Credential } from "../credentials/credentials.ts";
import { upstreamUrl, type ResolvedRequest } from "../../policy/resolve.ts";
import { contentLength, requestHeaders } from "../../policy/request-headers.ts";
import { linkRewriter } from "./links.ts";
import { maxDecodedLength, streamBody, bufferBody, type BodyEnd } from "./stream-body.ts";
import { setResponseHeaders } from "./response-headers.ts";
import { containsSecret } from "./secret-leak.ts";
import { deadline, IDLE_BODY_MS, transformStreamOf, startUpload } from "./upload.ts";
import { resolveLink } from "./upstream-link.ts";

/** An upstream that gave no answer that could be passed on. */
export interface UpstreamFailure {
  readonly failure:
    | "timeout"
    | "unreachable"
    | "encoded"
    | "bad_redirect"
    | Exclude<BodyEnd, "too_large" | "caller_ended" | undefined>;
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
const MAX_BUFFERED_BYTES = 64 * 1024;

/**
 * Sends a judged request to its upstream and passes the answer on, both bodies streamed.
 *
 * One attempt: whether a request may be repeated is its sender's to know. Redirects are answered, not followed: the next
 * request is checked like any other, and the credential never travels to another host.
 *
 * @param sent what to send: the request's own stream, or what was read of it, under the type that it was judged by.
 * @param caller asked again while a body flows.
 * @param bodyTimeoutMs how long the sender may take for a streamed body, in milliseconds.
 * @param issuer the gateway's public origin, where it is configured.
 * @throws {ApiError} if the gateway breaks the request's body off: 408 for a slow sender, or the caller's refusal.
 */
export async function forward(
  request: Request,
  { body, contentType }: BodyToSend,
  meaning: ResolvedRequest,
  credential: Credential,
  { caller, bodyTimeoutMs, issuer }: { caller: CallerWatch; bodyTimeoutMs: number; issuer: string | null },
): Promise<Forwarded | UpstreamFailure> {
  const { service } = meaning;
  const url = upstreamUrl(meaning, credential.origin);
  const headers = requestHeaders(request.headers, service.definition);
  if (contentType !== undefined) headers["content-type"] = contentType;
  for (const [name, value] of credential.headers) headers[name] = value;

  const upload =
    body instanceof ReadableStream
      ? startUpload(body, contentLength(request.headers), caller, { idleMs: IDLE_BODY_MS, totalMs: bodyTimeoutMs })
      : undefined;
  // A slow sender is told so before its upstream is given up.
  const { late, stop } = deadline(service.timeoutMs, upload?.sent, bodyTimeoutMs + IDLE_BODY_MS);
  const content = upload ? { body: upload.body, signal: upload.signal } : { body };
  const init: RequestInit = { method: meaning.method, headers, ...content, redirect: "manual" };
  let answer: Response | undefined;
  try {
    const answering = fetch(url.href, init);
    answer = await Promise.race(upload ? [answering, late, upload.refused] : [answering, late]);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    return { failure: "unreachable", cause };
  } finally {
    stop();
  }
  if (!answer) return { failure: "timeout" };
  // A switch of protocols that nobody asked for.
  if (answer.status < 200) return { failure: "unreachable" };
  if (answer.status === 401) credential.invalidate?.();

  const { definition } = service;
  const { status, headers: received } = answer;
  const scope = { service, fetched: url, gatewayOrigin: originOf(request.url), issuer };
  const resolve = (text: string) => resolveLink(text, scope);
  const location = received.get("location");
  // Without its Location a redirect is an answer that no client understands, and nothing says why.
  if (isRedirect(status) && location !== null && resolve(location) === undefined) {
    await answer.body?.cancel();
    return { failure: "bad_redirect", upstreamStatus: status };
  }
  const statusText = containsSecret(answer.statusText, credential.secretEncodings) ? "" : answer.statusText;
  const answered = (content: BodyInit | null): Response => {
    const response = new Response(content, { status, statusText, headers: received });
    setResponseHeaders(response.headers, received, definition, credential.secretEncodings, resolve);
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
    definition.bodyLinks && status !== 206 && isJson(received)
      ? linkRewriter(definition.bodyLinks, resolve)
      : undefined;
  const rewritten = (content: BodyInit | null): Response => {
    const response = answered(content);
    if (links) for (const name of ["content-length", ...DIGESTS]) response.headers.delete(name);
    return response;
  };

  const length = lengthOf(received);
  if ((links || secretEncodings.length > 0) && length !== undefined && length <= MAX_BUFFERED_BYTES) {
    const whole = await bufferBody(answer, { secretEncodings, links });
    return "failure" in whole ? { ...whole, upstreamStatus: status } : { response: rewritten(whole.body), ...ended };
  }
  if (!answer.body) return { response: rewritten(null), ...ended };
  const { readable, writable } = transformStreamOf(links ? undefined : length);
  const maxLength = maxDecodedLength(received);
  const passage = { secretEncodings, links, searched, maxLength, watch: caller.start };
  const done = streamBody(answer.body, writable, passage, length);
  return { response: rewritten(readable), upstreamStatus: status, done };
}

/** The codings that the runtime undoes where a body is read, in just these letters: under any other the credential would not be found. */
const DECODED = /^(?:gzip|br|identity)?$/;

/** Statuses whose answers have no body (RFC 9110 §15). */
const BODILESS = new Set([204, 205, 304]);

/** What tells of the bytes of a body that are no longer those. */
const DIGESTS = ["content-md5", "digest", "content-digest", "repr-digest"];

const isRedirect = (status: number): boolean => status >= 300 && status < 400 && status !== 304;

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
