import type { Handler } from "hono";
import { limitAddress } from "../access/rate-limit.ts";
import { countRequest, isRecorded } from "../access/refusals.ts";
import type { Route } from "../access/route.ts";
import { challengeOf } from "../http/challenge.ts";
import { toApiError } from "../http/error-response.ts";
import { parseForm } from "../http/form.ts";
import type { AppEnv, RequestContext } from "../http/request-context.ts";
import { receiveBody } from "../http/validation.ts";
import { measureRequest } from "../log/metrics.ts";
import { agentOf, logRefusal } from "../log/request-log.ts";
import { fromApiError, OAuthError, statusOf, toOAuthResponse } from "./errors.ts";

/**
 * Returns hono's handler for a route that takes a form. Its query is ignored, its handler authenticates the client itself, and its
 * errors are OAuth's. As on the REST face, the body is received before anything is decided.
 */
export function dispatchForm(route: Route): Handler<AppEnv> {
  return async (c) => {
    const { context } = c.var;
    try {
      await limitAddress(context.env, context.ipAddress);
      const received = await receiveBody(context.request);
      if ("fault" in received) throw received.fault;
      const parsed = parseForm(received.text, context.request.headers.get("content-type"));
      if ("fault" in parsed) throw new OAuthError("invalid_request", parsed.fault);
      const call = { ...context, now: Date.now(), form: parsed.form };
      // The table of routes has no types for each handler; `route()` has checked them.
      const handler = route.handle as (call: object) => object | Promise<object>;
      const answer = await context.timing.during("handler", Promise.resolve(handler(call)));
      measure(route, context, 200, "");
      return Response.json(answer, { headers: NO_STORE });
    } catch (error) {
      const response = toFormResponse(error, context);
      const { status } = response;
      const code = error instanceof OAuthError ? error.fault.error : toApiError(error).code;
      measure(route, context, status, code);
      // Most of what is wrong with a client's own proof has a record of its own already.
      if (status < 500 && !isRecorded(error) && !STEPS.has(code)) countRequest(context, { status, code });
      return response;
    }
  };
}

/** The errors that are a step of the way to a token, and refuse nobody: a command waits for its person, and a client gets a nonce. */
const STEPS: ReadonlySet<string> = new Set(["authorization_pending", "use_dpop_nonce"]);

function measure({ path, method }: Route, { env, timing }: RequestContext, status: number, code: string): void {
  measureRequest(env, { kind: "request", name: path, method, status, code }, timing);
}

/** RFC 6749 §5.1 asks for both. */
const NO_STORE = { "Cache-Control": "no-store", Pragma: "no-cache" };

/** Logs a refusal of an OAuth endpoint and returns its response. */
function toFormResponse(error: unknown, context: RequestContext): Response {
  const { request, requestId } = context;
  const known = error instanceof OAuthError ? error : fromApiError(toApiError(error));
  const cause = error instanceof OAuthError ? error.cause : (known.cause ?? error);
  const status = statusOf(known);
  logRefusal({
    request_id: requestId,
    method: request.method,
    path: new URL(request.url).pathname,
    status,
    code: known.fault.error,
    agent_id: agentOf(request),
    duration_ms: context.timing.elapsed,
    took_ms: context.timing.steps,
    ...(status >= 500 && cause instanceof Error && { cause: `${cause.name}: ${cause.message}` }),
  });
  const response = toOAuthResponse(known);
  // An access token is asked for as on every other path.
  if (known.fault.error === "invalid_token" || known.fault.error === "insufficient_scope") {
    const challenge = challengeOf(toApiError(error), request, context);
    if (challenge) response.headers.set("www-authenticate", challenge);
  }
  return response;
}

/** Returns a handler that responds 405 in the shape of OAuth's errors. */
export function formMethodNotAllowed(methods: readonly string[]): Handler<AppEnv> {
  const allow = [...methods, "OPTIONS"].join(", ");
  return (c) => {
    const message = `${c.req.method} is not a method of this endpoint. It has ${methods.join(", ")}.`;
    return toFormResponse(new OAuthError({ error: "method_not_allowed", allow }, message), c.var.context);
  };
}
