import type { Handler } from "hono";
import type { Authority } from "../authority/authority.ts";
import { wakeOutbox } from "../audit/message.ts";
import type { Registrar } from "../agents/register.ts";
import { ADMIN } from "../permissions/grammar.ts";
import {
  admit,
  authorityOf,
  authenticateRegistrar,
  requireBootstrapToken,
  type Caller,
} from "../access/authenticate.ts";
import { requireAssertion } from "../access/assertion.ts";
import { admitPerson, authorizePerson, requirePerson, type PersonCaller } from "../access/person.ts";
import { toApiError } from "../http/error-response.ts";
import { ApiError, forbidden } from "../http/errors.ts";
import { measureRequest } from "../log/metrics.ts";
import { recordRefusal } from "../access/refusals.ts";
import { limitAddress } from "../access/rate-limit.ts";
import type { AppEnv, RequestContext } from "../http/request-context.ts";
import { rolesOf, type Route } from "../access/route.ts";
import { handleOnce } from "./idempotency.ts";
import { parseBody, readQuery, receiveBody, type ReceivedBody } from "../http/validation.ts";

/**
 * Returns hono's handler for a declared route. It receives the body first, even if the route has none, and authenticates the
 * caller afterwards: a sender that holds its body back is authorized by the permissions that it has when the body has arrived. The
 * handler gets the caller's authority, on which everything that it writes depends.
 *
 * A refusal is recorded, or counted if its sender was not admitted.
 */
export function dispatch(route: Route): Handler<AppEnv> {
  return async (c) => {
    const { context } = c.var;
    const sender: Sender = {};
    const { timing, env } = context;
    const about = { kind: "request", name: route.path, method: route.method } as const;
    try {
      const response = await respond(route, context, c.req.param() as Record<string, string>, sender);
      if (isAdministrator(sender.caller)) response.headers.set("server-timing", timing.toHeader());
      measureRequest(env, { ...about, status: response.status, code: "" }, timing);
      return response;
    } catch (error) {
      const { status, code } = toApiError(error);
      measureRequest(env, { ...about, status, code }, timing);
      // A client that has failed to prove who it is has a record already.
      if (!(route.auth === "client" && toApiError(error).status === 401)) recordRefusal(context, error, sender.caller);
      throw error;
    }
  };
}

/** Only they see how long things took: from times, others could guess at what they may not see. */
const isAdministrator = (caller: Sender["caller"]): boolean =>
  caller !== undefined && "isAdmin" in caller && caller.isAdmin;

/** Who sends a request, once it is admitted. */
interface Sender {
  caller?: Caller | PersonCaller | Registrar | undefined;
}

async function respond(
  route: Route,
  arrived: RequestContext,
  params: Record<string, string>,
  sender: Sender,
): Promise<Response> {
  if (route.limited === "address") await limitAddress(arrived.env, arrived.ipAddress);
  const received = await receiveBody(arrived.request);
  const context = { ...arrived, now: Date.now() };
  const access = await authenticateCaller(route, context, params, sender);
  const { query, body } = route.ignoresInput ? NO_INPUT : parseInput(route, context.request, received);
  const call = { ...context, ...access, params, query, body };
  if (route.confirmed && access.caller && "person" in access.caller) {
    await requireAssertion({ ...call, caller: access.caller });
  }
  const { answer, isReplayed } = await context.timing.during("handler", handle(route, call, received));
  if (route.method !== "GET" && !route.changesNothing && !isReplayed) context.waitUntil(wakeOutbox(context.env));
  if (answer instanceof Response) return answer;
  const headers = {
    "Cache-Control": route.cacheControl ?? "no-store",
    ...(isReplayed && { "Idempotent-Replayed": "true" }),
  };
  return Response.json(answer, { status: route.status ?? 200, headers });
}

type Handled = Awaited<ReturnType<typeof handleOnce>>;

/** Handles a call, and only once if it has an `Idempotency-Key` and its route takes one. */
async function handle(route: Route, call: Parameters<typeof handleOnce>[0], received: ReceivedBody): Promise<Handled> {
  // The table of routes has no types for each handler; `route()` has checked them.
  const handler = route.handle as (call: object) => object | Promise<object>;
  const key = route.idempotent && call.request.headers.get("idempotency-key");
  if (!route.idempotent || typeof key !== "string") return { answer: await handler(call), isReplayed: false };
  const text = "text" in received ? received.text : "";
  const once = { key, received: text, secretPaths: route.idempotent.secrets };
  return handleOnce(call, once, async (DB) => handler({ ...call, env: { ...call.env, DB } }));
}

const NO_INPUT = { query: undefined, body: undefined };

/** @throws {ApiError} for a query or a body that is not exactly what the route declares. */
function parseInput(route: Route, { url, headers }: Request, received: ReceivedBody) {
  const query = readQuery(new URL(url), route.query?.());
  return { query, body: parseBody(received, headers.get("content-type"), route.body?.()) };
}

/** Who calls, and with which authority it writes. `person`: the person who registers an agent. */
interface Access {
  readonly caller: Caller | PersonCaller | Registrar | undefined;
  readonly authority: Authority | undefined;
  readonly person?: PersonCaller | undefined;
}

const NOBODY: Access = { caller: undefined, authority: undefined };

async function authenticateCaller(
  route: Route,
  context: RequestContext,
  params: Record<string, string>,
  sender: Sender,
): Promise<Access> {
  const { auth } = route;
  switch (auth) {
    case "none":
    case "client":
      return NOBODY;
    case "bootstrap":
      await requireBootstrapToken(context);
      return NOBODY;
    case "person":
    case "oneself":
    case "enrolling":
    case "administrator":
      return authenticatePerson(route, context, params.id, sender);
    case "registration":
      return registrarOf(route, context, sender);
    default: {
      // Elsewhere `{id}` names a webhook or a record, and the handler finds out whose it is.
      const agentId = auth === "self" || auth === "admin" ? params.id : undefined;
      const person = await admitPerson(context, agentId);
      if (!person) return authenticateAgent(auth, context, params.id, sender);
      sender.caller = person;
      if (auth === "bearer") throw forbidden("agent_required", "An agent does this, with its access token.");
      return { caller: person, authority: authorize(person, route, context, agentId) };
    }
  }
}

const authorize = (person: PersonCaller, route: Route, { request }: RequestContext, ofAgent: string | undefined) =>
  authorizePerson(person, { roles: rolesOf(route), method: request.method, ofAgent });

/** For routes that no agent's token is accepted for. @param id the person that the path names. */
async function authenticatePerson(
  route: Route,
  context: RequestContext,
  id: string | undefined,
  sender: Sender,
): Promise<Access> {
  const person = await requirePerson(context, route.fromCommand === true);
  sender.caller = person;
  const { role } = person.person;
  const authority = { personId: person.id, sessionId: person.session.id, role };
  const isOneself = route.auth !== "administrator" && (id === undefined ? route.auth === "person" : id === person.id);
  if (route.auth === "enrolling" && isOneself) return { caller: person, authority: { ...authority, byLink: true } };
  if (person.session.method !== "link" && isOneself) return { caller: person, authority };
  return { caller: person, authority: authorize(person, route, context, undefined) };
}

async function registrarOf(route: Route, context: RequestContext, sender: Sender): Promise<Access> {
  const person = await admitPerson(context);
  if (!person) {
    const registrar = await authenticateRegistrar(context);
    sender.caller = registrar;
    return { caller: registrar, authority: undefined };
  }
  sender.caller = person;
  const authority = authorize(person, route, context, undefined);
  return { caller: { kind: "person", id: person.id, name: person.name, authority }, authority: undefined, person };
}

async function authenticateAgent(
  auth: "bearer" | "member" | "self" | "admin" | "own",
  context: RequestContext,
  id: string | undefined,
  sender: Sender,
): Promise<Access> {
  // AgentAuth's own endpoints read no cache: a revocation is in force with the next request.
  const caller = await admit(context, 0);
  sender.caller = caller;
  const isOwn = id === caller.agent.id;
  if (!caller.isAdmin) {
    if (auth === "admin") throw adminRequired(caller, "Only an administrator may do this.");
    if (auth === "self" && !isOwn) throw adminRequired(caller, "An agent may only do this to itself.");
  }
  // An agent that may do this as itself need not remain an administrator.
  const asAdmin = auth === "admin" || (auth === "self" && !isOwn) || (auth === "own" && caller.isAdmin);
  return { caller, authority: authorityOf(caller, asAdmin ? [ADMIN] : []) };
}

const adminRequired = (caller: Caller, message: string): ApiError =>
  forbidden("insufficient_permissions", message, { required: ADMIN, granted: [...caller.permissions] });

/**
 * Returns a handler that responds 405 with the methods that the path has (RFC 9110 §15.5.6).
 *
 * hono's methodNotAllowed runs after a 404, which here may also be what a handler returns, and brings a second router.
 */
export function methodNotAllowed(methods: readonly string[]): Handler<AppEnv> {
  const allowed = [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"].join(", ");
  return (c) => {
    const message = `${c.req.method} is not a method of this path. It has ${allowed}.`;
    throw new ApiError("method_not_allowed", message, { headers: { Allow: allowed } });
  };
}
