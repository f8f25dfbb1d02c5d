import type { Authority } from "../authority/authority.ts";
import type { Registrar } from "../agents/register.ts";
import type { Form } from "../http/form.ts";
import type * as http from "../http/route.ts";
import type { Caller } from "./authenticate.ts";

/**
 * Who may call a route.
 *
 * - `none`: anyone.
 * - `client`: an OAuth client, which the handler authenticates by the request's form or its Authorization header.
 * - `registration`: anyone; an access token or the bootstrap token, if the request carries one, must be valid.
 * - `bearer`: any active agent.
 * - `self`: the agent that `{id}` names, or an admin.
 * - `admin`: an agent that holds `*:*:*`.
 * - `own`: any active agent; the handler responds 404 for what does not belong to the caller.
 */
export type Auth = "none" | "client" | "registration" | "bearer" | "self" | "admin" | "own";

interface AgentAccess {
  readonly caller: Caller;
  /** For `batchAsCaller`: everything that a handler writes for its caller is written on this condition. */
  readonly authority: Authority;
}

/** What a handler knows about its caller, by the route's `auth`. A registrar that is an agent carries its own authority. */
interface AccessByAuth {
  none: { readonly caller: undefined; readonly authority: undefined };
  client: { readonly caller: undefined; readonly authority: undefined; readonly form: Form };
  registration: { readonly caller: Registrar; readonly authority: undefined };
  bearer: AgentAccess;
  self: AgentAccess;
  admin: AgentAccess;
  own: AgentAccess;
}

/** What a handler of a route with this `auth` and path receives, whatever the route's body and query are. */
export type Call<A extends Auth, Path extends string = "/"> = http.Call<AccessByAuth[A], Path, unknown, unknown>;

export type Route = http.MountedRoute<Auth>;

/**
 * Declares a route. `auth` has no default: a route that does not say who may call it does not compile. Nor does a handler
 * whose return value is not what `response` describes, or that reads a parameter which its path does not have.
 */
export function route<
  A extends Auth,
  const Path extends `/${string}`,
  Response extends http.Schema,
  Body extends http.Schema | undefined = undefined,
  Query extends http.Schema | undefined = undefined,
>(declared: http.RouteDeclaration<A, AccessByAuth[A], Path, Body, Query, Response>): Route {
  return declared;
}
