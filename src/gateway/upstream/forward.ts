import { ApiError } from "../../http/errors.ts";
import type { CallerWatch } from "../caller-watch.ts";
import type { BodyToSend } from "../../policy/body.ts";
import type { Credential } from "../credentials/credentials.ts";
import { bodyLinksOf, LINKS_HEADER } from "../../policy/body-links.ts";
import { upstreamUrl, type ResolvedRequest } from "../../policy/resolve.ts";
import { contentCoding } from "../../policy/content-coding.ts";
import { contentLength, toldHeaders } from "../../policy/request-headers.ts";
import { linkRewriter } from "./links.ts";
import type { Meter } from "./meter.ts";
import { maxDecodedLength, streamBody, bufferBody, type BodyEnd } from "./stream-body.ts";
import { filterResponseHeaders, headersReadWithin, setGatewayHeaders, type HeaderMap } from "./response-headers.ts";
import { containsSecret } from "./secret-leak.ts";
import { answerClock, transformStreamOf, startUpload, type AnswerClock } from "./upload.ts";
import { resolveLink } from "./upstream-link.ts";

/** Why an upstream's answer cannot be passed on. */
export interface UpstreamFailure {
  readonly failure:
    | "timeout"
    | "unreachable"
    | "bad_answer"
    | "encoded"
    | "bad_redirect"
    | Extract<BodyEnd, "credential_echo" | "broken_off" | "stalled">;
  /** The status of its answer, if that had begun. */
  readonly upstreamStatus?: number;
  readonly cause?: unknown;
}

/**
 * What an agent gets of an upstream: a response, or for a caller within this Worker what a response would be made of. That has only the
 * headers that such a caller reads, and a body that was read whole is still one array.
 */
export interface Answer {
  readonly status: number;
  readonly headers: HeaderMap;
  readonly body: ReadableStream<Uint8Array> | Uint8Array | null;
}

export interface Forwarded {
  readonly answer: Answer;
  readonly upstreamStatus: number;
  /** Resolves with how the body ended; undefined if the body was read whole before. */
  readonly done: Promise<BodyEnd> | undefined;
}

/** How much of a body whose type is not text is searched for the credential, in bytes. After that, the search continues as long as the body looks like text. */
const MAX_SEARCHED_BINARY = 1024 * 1024;

/** A body of at most this length, in bytes, is read whole before the answer begins: streaming it would gain nothing. */
const MAX_BUFFERED_BYTES = 64 * 1024;

/**
 * Sends a resolved request to its upstream and returns the answer for the agent. Both bodies are streamed.
 *
 * There is one attempt, because only the sender knows whether the request may be repeated. Redirects are passed on and not followed: the
 * agent's next request is checked like any other, and the credential is never sent to another host.
 *
 * @param body the body to forward, with the type by which it was checked.
 * @param caller checked again while a body is streamed.
 * @param bodyTimeoutMs how long the sender may take for a streamed body, in milliseconds.
 * @param meter counts the bytes of both bodies.
 * @param isWithin whether the answer is for a caller within this Worker. It is a `Response` otherwise.
 * @param issuer the gateway's public origin, or null if it is not configured.
 * @throws {ApiError} if the gateway breaks the request's body off: 408 for a slow sender, or the caller's refusal.
 */
export async function forward(
  request: Request,
  { body, contentType }: BodyToSend,
  resolved: ResolvedRequest,
  credential: Credential,
  {
    caller,
    bodyTimeoutMs,
    issuer,
    meter,
    isWithin,
  }: { bodyTimeoutMs: number } & Pick<PassOptions, "caller" | "issuer" | "meter" | "isWithin">,
): Promise<Forwarded | UpstreamFailure> {
  const { timeoutMs, idleTimeoutMs: idleMs } = resolved.service;
  const url = upstreamUrl(resolved, credential.origin);
  const headers = { ...resolved.headers.forwarded };
  if (contentType !== undefined) headers["content-type"] = contentType;
  for (const [name, value] of credential.headers) headers[name] = value;

  const upload =
    body instanceof ReadableStream
      ? startUpload(body, contentLength(request.headers), caller, { idleMs, totalMs: bodyTimeoutMs }, undefined, meter)
      : undefined;
  // A slow sender gets its own error before the upstream's time limit ends.
  const clock = answerClock({ timeoutMs, idleMs }, upload?.sent, bodyTimeoutMs + idleMs);
  const content = upload ? { body: upload.body, signal: upload.signal } : { body };
  // Cloudflare's cache would not tell apart the requests of two agents where the credential is in another header than `Authorization`.
  // `no-store` neither reads nor fills it. The upstream gets `Cache-Control: no-cache` and `Pragma: no-cache` with it.
  const init: RequestInit = { method: resolved.method, headers, ...content, redirect: "manual", cache: "no-store" };
  let answer: Response | undefined;
  try {
    const answering = fetch(withParameter(url, credential), init);
    answer = await Promise.race(upload ? [answering, clock.late, upload.refused] : [answering, clock.late]);
  } catch (cause) {
    clock.stop();
    if (cause instanceof ApiError) throw cause;
    return { failure: "unreachable", cause: withoutSecret(cause, credential) };
  }
  if (!answer) return { failure: "timeout" };
  clock.headArrived();
  const passedOn = await passOn(request, answer, {
    url,
    resolved,
    credential,
    caller,
    issuer,
    meter,
    isWithin,
    late: clock.late,
  });
  clock.stop();
  return passedOn;
}

interface PassOptions {
  readonly url: URL;
  readonly resolved: ResolvedRequest;
  readonly credential: Credential;
  readonly caller: CallerWatch;
  readonly issuer: string | null;
  readonly meter: Meter;
  readonly isWithin: boolean;
  /** Resolves when a body that is read whole is late. */
  readonly late: AnswerClock["late"];
}

/** Makes the answer for the agent of the upstream's: headers and links as agents get them, and a body without the credential. */
async function passOn(
  request: Request,
  answer: Response,
  { url, resolved, credential, caller, issuer, meter, isWithin, late }: PassOptions,
): Promise<Forwarded | UpstreamFailure> {
  const { service } = resolved;
  // 101 without an Upgrade header in the request, or what is no status of HTTP (RFC 9110 §15) and no response could have.
  if (answer.status < 200 || answer.status > 599) {
    await answer.body?.cancel();
    return { failure: "bad_answer", upstreamStatus: answer.status };
  }
  if (answer.status === 401) credential.invalidate?.();

  const { definition } = service;
  const { dropped } = resolved.headers;
  const { status, headers: received } = answer;
  const credentialParameter = credential.parameter?.name;
  const scope = { service, fetched: url, gatewayOrigin: originOf(request.url), issuer, credentialParameter };
  const resolve = (text: string) => resolveLink(text, scope);
  const location = received.get("location");
  // A redirect without its Location would be an answer that no client understands.
  if (isRedirect(status) && location !== null && resolve(location) === undefined) {
    await answer.body?.cancel();
    return { failure: "bad_redirect", upstreamStatus: status };
  }
  const { secretEncodings } = credential;
  const answered = (body: Answer["body"], without?: readonly string[]): Answer => {
    if (isWithin) {
      const read = headersReadWithin(received);
      const headers = new Map(read);
      filterResponseHeaders(headers, read, definition, secretEncodings, resolve, without);
      return { status, headers, body };
    }
    const statusText = containsSecret(answer.statusText, secretEncodings) ? "" : answer.statusText;
    const response = new Response(body, { status, statusText, headers: received });
    const { headers } = response;
    filterResponseHeaders(headers, received, definition, secretEncodings, resolve, without);
    setGatewayHeaders(headers, definition);
    if (dropped.length > 0) headers.set("x-agentauth-dropped", toldHeaders(dropped));
    return response;
  };
  const ended = { upstreamStatus: status, done: undefined };
  if (resolved.method === "HEAD" || BODILESS.has(status)) return { answer: answered(null), ...ended };
  const bodyLinks = status !== 206 && isJson(received) ? bodyLinksOf(definition, resolved.links) : undefined;
  const links = bodyLinks && linkRewriter(bodyLinks, scope);
  const isRead = links !== undefined || secretEncodings.length > 0;
  const coding = isRead ? contentCoding(received.get("content-encoding")) : "decoded";
  if (coding === "unreadable") {
    await answer.body?.cancel();
    return { failure: "encoded", upstreamStatus: status };
  }
  const rewritten = (body: Answer["body"]): Answer => {
    const without = coding === "none" || coding === "gzip" ? ["content-encoding"] : [];
    if (coding === "gzip" || links) without.push("content-length");
    if (links) without.push(...DIGESTS);
    const passedOn = answered(body, without);
    if (links) passedOn.headers.set(LINKS_HEADER, "rewritten");
    return passedOn;
  };

  const length = coding === "none" || !received.has("content-encoding") ? contentLength(received) : undefined;
  if (isRead && length !== undefined && length <= MAX_BUFFERED_BYTES) {
    const whole = await bufferBody(answer, { secretEncodings, links }, late);
    if ("failure" in whole) return { ...whole, upstreamStatus: status };
    meter.bytesOut = whole.body.byteLength;
    return { answer: rewritten(whole.body), ...ended };
  }
  if (!answer.body) return { answer: rewritten(null), ...ended };
  const decoded = coding === "gzip" ? answer.body.pipeThrough(new DecompressionStream("gzip")) : answer.body;
  const { readable, writable } = transformStreamOf(links ? undefined : length);
  const transforms = {
    secretEncodings,
    links,
    searched: searchedLength(received),
    maxLength: coding === "none" ? Infinity : maxDecodedLength(received),
    watch: caller.start,
    idleMs: service.idleTimeoutMs,
    meter,
  };
  const done = streamBody(decoded, writable, transforms, length);
  return { answer: rewritten(readable), upstreamStatus: status, done };
}

/**
 * Returns the URL to fetch: the one that was checked, with the credential's parameter at its end if it has one. Only unreserved
 * characters (RFC 3986 §2.3) of the value stay as they are. The parameter is in no other URL, so no link or log is made from it.
 */
function withParameter({ href }: URL, { parameter }: Credential): string {
  if (!parameter) return href;
  const value = encodeURIComponent(parameter.value).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${href}${href.includes("?") ? "&" : "?"}${parameter.name}=${value}`;
}

/** Returns an error for the log. The runtime's own may quote the URL. */
const withoutSecret = (cause: unknown, { secretEncodings }: Credential): unknown =>
  containsSecret(String(cause), secretEncodings) ? "the error contains the credential, and is withheld" : cause;

/** Statuses whose answers have no body (RFC 9110 §15). */
const BODILESS = new Set([204, 205, 304]);

/** Headers about the bytes of a body, which are wrong once links are rewritten. */
const DIGESTS = ["content-md5", "digest", "content-digest", "repr-digest"];

const isRedirect = (status: number): boolean => status >= 300 && status < 400 && status !== 304;

/**
 * Returns whether a body is JSON of the API's own. GitHub names a file in any format `application/vnd.github.raw+json`
 * (https://docs.github.com/en/rest/repos/contents#get-repository-content).
 */
const isJson = (headers: Headers): boolean =>
  /^application\/(?:(?![\w.-]*\braw\+)[\w.-]+\+)?json\b/i.test(headers.get("content-type") ?? "");

/** Returns how many bytes of a body are searched at least: all of a text, and the beginning of any other type. */
function searchedLength(headers: Headers): number {
  const type = headers.get("content-type");
  return type === null || /^text\/|[/+](?:json|xml|javascript|x-www-form-urlencoded)\b|ndjson|yaml/i.test(type)
    ? Infinity
    : MAX_SEARCHED_BINARY;
}

const originOf = (url: string): string => url.slice(0, url.indexOf("/", url.indexOf("://") + 3));
