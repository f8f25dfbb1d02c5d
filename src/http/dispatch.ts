import type { Handler } from "hono";
import { note } from "../activity/record.ts";
import { authenticate, identifyRegistrar, type Caller } from "./authenticate.ts";
import { ApiError, forbidden } from "./errors.ts";
import { limitAddress, limitAgent } from "./rate-limit.ts";
import type { AppEnv, RequestContext } from "./request.ts";
import type { Auth, Call, Route } from "./route.ts";
import { readBody, readQuery } from "./validate.ts";

/** A declared route as a handler: who calls, how often, with what, and then the work. */
export function dispatch(route: Route): Handler<AppEnv> {
  return async (c) => {
    const { context } = c.var;
    const params = c.req.param() as Record<string, string>;
    if (route.limited === "address") await limitAddress(context.env, context.ipAddress);
    const caller = await callerFor(route.auth, context, params);
    const query = readQuery(new URL(context.request.url), route.query);
    const body = await readBody(context.request, route.body);
    const call = { ...context, params, caller, query, body } as unknown as Call<Auth, never, never>;
    const answer = await route.handle(call);
    if (answer instanceof Response) return answer;
    return Response.json(answer, { status: route.status ?? 200, headers: { "Cache-Control": "no-store" } });
  };
}

async function callerFor(auth: Auth, context: RequestContext, params: Record<string, string>) {
  if (auth === "none") return undefined;
  if (auth === "registration") return identifyRegistrar(context);
  // AgentAuth's own endpoints never trust the isolate's memory: a revocation ends them with the next request.
  const caller = await authenticate(context, 0);
  await limitAgent(context.env, caller.agent);
  if (caller.isAdmin) return caller;
  if (auth === "admin") throw needsAdmin(context, caller, "Only an administrator may do this.");
  if (auth === "self" && params.id !== caller.agent.id) {
    throw needsAdmin(context, caller, "An agent may only do this to itself.");
  }
  return caller;
}

/** The owner of the agent is to see what it tried. */
function needsAdmin(context: RequestContext, caller: Caller, message: string): ApiError {
  const { method, url } = context.request;
  note(context, caller.agent.id, `${method} ${new URL(url).pathname} → denied, needs *:*:*`, { status: "failure" });
  return forbidden("insufficient_permissions", message, { required: "*:*:*", granted: [...caller.permissions] });
}

/** 405 with the methods that the path does have (RFC 9110 §15.5.6). */
export function methodNotAllowed(methods: readonly string[]): Handler<AppEnv> {
  const allowed = [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(", ");
  return (c) => {
    throw new ApiError(405, {
      code: "method_not_allowed",
      error: "Method not allowed",
      message: `${c.req.method} is not a method of this path. It has ${allowed}.`,
      headers: { Allow: allowed },
    });
  };
}
