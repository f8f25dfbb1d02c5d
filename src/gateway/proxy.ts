import { readAgentToken } from "../access/agent-token.ts";
import { admit, authenticate, callerWith, readClaims, type Caller } from "../access/authenticate.ts";
import { toApiError } from "../http/error-response.ts";
import { ApiError, notFound } from "../http/errors.ts";
import { measureRequest } from "../log/metrics.ts";
import type { RequestContext } from "../http/request-context.ts";
import { serviceWildcard } from "../permissions/grammar.ts";
import type { BodyToSend } from "../policy/body.ts";
import type { BodyDemands } from "../policy/body-rules.ts";
import { findGrants, judgeLimits, widerKeys, type LimitedPermission } from "../policy/judge.ts";
import { bodyRefusal, resolveRequest, type ProxyRequest, type ResolvedRequest } from "../policy/resolve.ts";
import { contentLength } from "../policy/request-headers.ts";
import { isRead } from "../policy/rule.ts";
import { markRecorded, recordRefusal } from "../access/refusals.ts";
import { AuthorityLostError } from "../authority/authority.ts";
import { CallRecord, type AuditedRequest } from "./audit.ts";
import { watchCaller, type CallerWatch } from "./caller-watch.ts";
import { getCredential, type Credential } from "./credentials/credentials.ts";
import {
  constraintViolated,
  credentialUnavailable,
  grantExpired,
  permissionDenied,
  requestRefused,
  tokenInRequest,
  upstreamFailed,
} from "./refusals.ts";
import { bodyToSend, isReadFirst, mustBeRead, receiveBody, type ReceivedBody } from "./request-body.ts";
import { forward, type Answer } from "./upstream/forward.ts";

/**
 * Handles one request to `/proxy/{service}/…`:
 *
 * 1. Resolve it to a service, a canonical path and the permissions that it needs. This depends on nothing but the request.
 * 2. Read its body whole if it is short or has to be checked. The token's signature is verified first, so that the gateway buffers
 *    no body of a stranger.
 * 3. Authenticate its sender (signature, agent, session) and count the request against the agent's rate limit.
 * 4. Check that every required permission is granted at this time.
 * 5. Check the body, which may need a wider permission by its content. If a permission is granted within limits only, check what the
 *    request says against them.
 * 6. Get the upstream's credential.
 * 7. Record the intent of a write, on the condition that its sender still may send it.
 * 8. Forward the request and stream the response back. While a body is streamed, the sender is checked again once a minute, and before the
 *    end of an upload is sent.
 *
 * Everything that is decided about a request is one record of the audit log, whether its sender waits for the answer or not.
 *
 * @throws {ApiError} with a stable code, for every request that gets no answer of its upstream.
 */
export const proxy = (incoming: RequestContext): Promise<Response> => handle(incoming, false);

/**
 * Handles a request like {@link proxy}, for a caller within this Worker, which reads the answer at once. No response is made for it.
 *
 * @throws {ApiError} as {@link proxy}.
 */
export const proxyWithin = (incoming: RequestContext): Promise<Answer> => handle(incoming, true);

function handle(incoming: RequestContext, isWithin: false): Promise<Response>;
function handle(incoming: RequestContext, isWithin: true): Promise<Answer>;
function handle(incoming: RequestContext, isWithin: boolean): Promise<Answer> {
  const handling: Handling = { isWithin };
  const answering = answerAndRecord(incoming, handling);
  // A sender that closes its connection must not end what was begun, nor keep it from being recorded.
  incoming.waitUntil(
    answering.then(
      () => handling.recorded,
      () => undefined,
    ),
  );
  return answering;
}

/** What is known of a request while it is handled, for its record. */
interface Handling {
  /** Whether its answer is for a caller within this Worker. */
  readonly isWithin: boolean;
  /** The name of a service that exists. */
  service?: string;
  caller?: Caller;
  record?: CallRecord;
  /** Resolves when the end of an answer has been recorded. */
  recorded?: Promise<void>;
}

async function answerAndRecord(incoming: RequestContext, handling: Handling): Promise<Answer> {
  const { timing } = incoming;
  try {
    const answered = await answer(incoming, handling);
    if (handling.caller?.isAdmin) answered.headers.set("server-timing", timing.toHeader());
    measureCall(incoming, handling, answered.status);
    return answered;
  } catch (error) {
    measureCall(incoming, handling, toApiError(error));
    if (handling.record) incoming.waitUntil(handling.record.refuse(error));
    else recordRefusal(incoming, error, handling.caller);
    // A call of a tool at /mcp leads here too, and has no second record.
    throw error instanceof ApiError ? markRecorded(error) : error;
  }
}

/** @param outcome the upstream's status, or why there is none. */
function measureCall(
  { env, request, timing }: RequestContext,
  { service }: Handling,
  outcome: number | ApiError,
): void {
  const [status, code] = typeof outcome === "number" ? [outcome, ""] : [outcome.status, outcome.code];
  // A name that is no service could be anything, and as many of them as somebody likes.
  measureRequest(env, { kind: "call", name: service ?? "", method: request.method, status, code }, timing);
}

async function answer(incoming: RequestContext, handling: Handling): Promise<Answer> {
  const { request, config } = incoming;
  const asked = toProxyRequest(request);
  const { tokenPlaces = [], tokenHint } = config.services.get(asked.service)?.definition ?? {};
  let token: string | undefined;
  // Read once, so that every part of the gateway sees the same token.
  const readToken = () => (token ??= readAgentToken(asked.headers, tokenPlaces, tokenHint));
  const arrived: RequestContext = {
    ...incoming,
    readToken,
    resource: incoming.resource ?? `${incoming.issuer}/proxy/${asked.service}`,
  };
  const readMaxAge = config.standingTtl * 1000;

  const resolved = resolveRequest(config.services, asked);
  if (resolved.outcome === "refused") {
    // Only an active agent learns which services and methods exist. A malformed request is refused without authentication.
    if (resolved.status !== 400) handling.caller = await admit(arrived, readMaxAge);
    else await readClaims(arrived).catch(() => undefined);
    throw requestRefused(resolved);
  }

  handling.service = resolved.service.name;
  const hasBody = !isRead(resolved.method) && request.body !== null;
  let received = hasBody && isReadFirst(request, resolved) ? await receive(arrived, resolved) : undefined;
  let context = received ? atPresent(arrived) : arrived;
  const isStreamed = hasBody && !received;

  // A write has to see a revocation at once; a read may be as late as the documented bound.
  let caller = await admit(context, resolved.write || isStreamed ? 0 : readMaxAge);
  handling.caller = caller;
  const record = (handling.record = new CallRecord(incoming, caller, resolved));
  let limited = checkPermissions({ context, caller, resolved, record });

  if (isStreamed && mustBeRead(request, resolved, demandsOf({ context, caller, resolved, record }, limited))) {
    // This body is long, and only this agent's permissions require a check of it. The sender is authenticated again after it has arrived.
    received = await receive(arrived, resolved);
    context = atPresent(arrived);
    caller = await authenticate(context, 0);
    limited = checkPermissions({ context, caller, resolved, record });
  }
  let audited: AuditedRequest = { context, caller, resolved, record };
  if (received && "bytes" in received) record.meter.bytesIn = received.bytes.byteLength;

  if (containsToken(resolved, received, readToken())) {
    record.hidePath();
    record.explain("refused, token_in_request");
    throw tokenInRequest();
  }
  const body = checkedBody(audited, received, limited);
  const { timing } = incoming;
  const credential = await timing.during("credential", getCredential(resolved.service, config, context));
  if (!("headers" in credential)) {
    record.explain("no credential");
    throw credentialUnavailable(resolved.service, credential);
  }
  // Reading the status and requesting the credential may take time, in which a grant may have ended.
  const present = atPresent(context);
  if (present.now !== context.now) judgeAgain({ ...audited, context: present }, body);
  audited = await beginWrite(audited, body);
  return forwardAndRecord(audited, body, credential, handling);
}

/**
 * Records the intent of a write. If the agent's grants have changed since the request was judged, it is judged again.
 *
 * @returns the request with the caller by whom it was judged.
 * @throws {ApiError} if the sender may no longer do this.
 */
async function beginWrite(audited: AuditedRequest, body: BodyToSend): Promise<AuditedRequest> {
  const { record } = audited;
  try {
    await record.begin(audited.caller);
    return audited;
  } catch (error) {
    if (!(error instanceof AuthorityLostError) || error.loss.reason !== "grants_changed") throw error;
  }
  const context = atPresent(audited.context);
  const again = { ...audited, context, caller: await authenticate(context, 0) };
  judgeAgain(again, body);
  await record.begin(again.caller);
  return again;
}

/** Judges a request whose body has been checked by what its sender may do now. @throws {ApiError} 403 */
function judgeAgain(audited: AuditedRequest, { body, content }: BodyToSend): void {
  const { context, resolved } = audited;
  const limited = checkPermissions(audited);
  // No limit holds for a body that is streamed: its sender had the permission without limits when it began.
  checkLimits(audited, limited, { content });
  if (!(body instanceof ReadableStream)) return;
  // The keys of a streamed body were not looked at, because its sender had the service's wildcard. A file has none.
  const demands = { ...demandsOf(audited, limited), isLimited: false };
  const [key] = mustBeRead(context.request, resolved, demands) ? demands.wider : [];
  if (key !== undefined) throw denied(audited, [serviceWildcard(resolved.service.name)], key);
}

/** Splits the raw text of the URL, so that the path that is checked has not been parsed and repaired before. */
function toProxyRequest({ url, method, headers }: Request): ProxyRequest {
  const path = url.slice(url.indexOf("/", url.indexOf("://") + 3));
  // The router decodes paths; another spelling of /proxy/ names no service.
  if (!path.startsWith("/proxy/")) throw notFound("This path");
  const rest = path.slice("/proxy/".length);
  const end = rest.search(/[/?#]/);
  const [service, target] = end === -1 ? [rest, ""] : [rest.slice(0, end), rest.slice(end)];
  return { service, method, target, headers };
}

/** Reads the whole body after the token's signature has been verified. */
async function receive(context: RequestContext, { service }: ResolvedRequest): Promise<ReceivedBody> {
  await readClaims(context);
  const limits = { idleMs: service.idleTimeoutMs, totalMs: context.config.bodyTimeoutMs };
  const { body, headers } = context.request;
  return receiveBody(body!, limits, contentLength(headers));
}

/** The same request at the present time: a body may have taken minutes to arrive, in which a token expires. */
const atPresent = (context: RequestContext): RequestContext => ({ ...context, now: Date.now() });

/** Returns whether a part of a request that would be forwarded contains the agent's own token. A streamed body is not searched. */
function containsToken({ path, query, headers }: ResolvedRequest, received: ReceivedBody | undefined, token: string) {
  const parts = [decoded(path), decoded(query), ...Object.values(headers.forwarded)];
  if (parts.some((part) => part.includes(token))) return true;
  return (
    received !== undefined && "bytes" in received && new TextDecoder("latin1").decode(received.bytes).includes(token)
  );
}

/** A token consists of characters that need no encoding, but may be encoded. */
const decoded = (text: string): string =>
  text.replace(/%([0-7][\da-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));

/**
 * @returns the required permissions that depend on what the request says.
 * @throws {ApiError} 403 if a required permission is not granted, or no longer.
 */
function checkPermissions(audited: AuditedRequest): readonly LimitedPermission[] {
  const { context, caller, resolved } = audited;
  const { permissions } = caller;
  const found = findGrants(resolved.required, caller, context.config.catalogue, context.now);
  switch (found.outcome) {
    case "granted":
      return found.limited;
    case "missing":
      throw denied(audited, found.permissions);
    case "expired":
      audited.record.deny({ code: "grant_expired", permissions: found.permissions });
      throw grantExpired(found.permissions, permissions);
  }
}

/** @throws {ApiError} 403 if the request is outside the limits of the grants that it needs. */
function checkLimits(
  audited: AuditedRequest,
  limited: readonly LimitedPermission[],
  { content }: Pick<BodyToSend, "content">,
): void {
  const exceeded = judgeLimits(limited, audited.resolved, content);
  if (!exceeded) return;
  const fields = [...new Set(exceeded.violations.map(({ field }) => field))];
  audited.record.deny({ code: "constraint_violated", permissions: [exceeded.permission], fields });
  throw constraintViolated(exceeded);
}

/** Returns the error of a denial, and says so to the record. */
function denied(audited: AuditedRequest, missing: readonly string[], parameter?: string): ApiError {
  audited.record.deny({ code: "insufficient_permissions", permissions: missing });
  return permissionDenied(audited.resolved, missing, audited.caller.permissions, parameter);
}

/**
 * Returns the body to forward: the stream of the request, or the parsed form of a body that has been read.
 *
 * @throws {ApiError} for a body that is refused, that did not arrive in time, that needs a permission that is missing, or that is outside
 *   the limits of a grant.
 */
function checkedBody(
  audited: AuditedRequest,
  received: ReceivedBody | undefined,
  limited: readonly LimitedPermission[],
): BodyToSend {
  const { context, resolved } = audited;
  const demands = demandsOf(audited, limited);
  const body = bodyToSend(context.request, received, resolved, demands);
  if (body instanceof ApiError) throw body;
  if (!("code" in body)) {
    checkLimits(audited, limited, body);
    return body;
  }
  if (body.parameter && demands.wider.includes(body.parameter)) {
    throw denied(audited, [serviceWildcard(resolved.service.name)], body.parameter);
  }
  audited.record.explain(`refused, ${body.code}`);
  throw requestRefused(bodyRefusal(body));
}

const demandsOf = (
  { context, caller, resolved }: AuditedRequest,
  limited: readonly LimitedPermission[],
): BodyDemands => ({
  wider: widerKeys(resolved.service, caller, context.config.catalogue, context.now),
  isLimited: limited.length > 0,
});

/**
 * Forwards a request, and records how it ends: at once, or once the body of its answer has ended.
 *
 * @throws {ApiError} if the upstream gives no answer that can be passed on, or the gateway breaks the request's body off.
 */
async function forwardAndRecord(
  audited: AuditedRequest,
  body: BodyToSend,
  credential: Credential,
  handling: Handling,
): Promise<Answer> {
  const { context, resolved, record } = audited;
  const { bodyTimeoutMs, issuer } = context.config;
  const options = {
    caller: watch(audited, body),
    bodyTimeoutMs,
    issuer,
    meter: record.meter,
    isWithin: handling.isWithin,
  };
  const forwarding = forward(context.request, body, resolved, credential, options);
  const outcome = await context.timing.during("upstream", forwarding).catch((cause: unknown) => {
    if (cause instanceof ApiError) record.explain(`broken off, ${cause.code}`);
    throw cause;
  });
  if ("failure" in outcome) {
    record.upstreamFailed(outcome);
    throw upstreamFailed(resolved.service, outcome);
  }
  const { answer: answered, upstreamStatus, done } = outcome;
  const { status } = answered;
  handling.recorded = done
    ? done.then((end) => record.answer(status, upstreamStatus, end))
    : record.answer(status, upstreamStatus);
  return answered;
}

/** Checks repeatedly whether the sender of a streamed body is still authorized. */
function watch(audited: AuditedRequest, body: BodyToSend): CallerWatch {
  const { context, caller } = audited;
  return watchCaller({
    checkedAt: context.now,
    maxAge: context.config.standingTtl * 1000,
    async check(isUpload) {
      const present = atPresent(context);
      // The token has to be valid when an upload ends. An answer that already flows to the agent may end after the token does.
      const again = isUpload ? await authenticate(present, 0) : await callerWith(caller.claims, present, 0);
      judgeAgain({ ...audited, context: present, caller: again }, body);
    },
  });
}
