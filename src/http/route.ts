import type * as z from "zod/mini";
import type { Authority } from "../authority/authority.ts";
import type { Registrar } from "../agents/register.ts";
import type { Caller } from "../access/authenticate.ts";
import type { RequestContext } from "./request-context.ts";

/**
 * Who may call a route.
 *
 * - `none`: anybody.
 * - `registration`: anybody, but a Bearer or the bootstrap token, where sent, must be good.
 * - `bearer`: any agent in good standing.
 * - `self`: the agent that `{id}` names, or an admin.
 * - `admin`: a holder of `*:*:*`.
 * - `own`: any agent; the handler answers "not found" for what is not the caller's.
 */
export type Auth = "none" | "registration" | "bearer" | "self" | "admin" | "own";

interface CallerByAuth {
  none: undefined;
  registration: Registrar;
  bearer: Caller;
  self: Caller;
  admin: Caller;
  own: Caller;
}

/** What an agent was let in by; a registrar brings its own. */
interface AuthorityByAuth extends Record<Auth, Authority | undefined> {
  none: undefined;
  registration: undefined;
  bearer: Authority;
  self: Authority;
  admin: Authority;
  own: Authority;
}

type Schema = z.ZodMiniType;
type Output<S> = S extends Schema ? z.infer<S> : undefined;

/** What a handler gets: everything checked, nothing of the framework. */
export interface Call<A extends Auth = Auth, B = undefined, Q = undefined> extends RequestContext {
  readonly params: Readonly<Record<string, string>>;
  readonly body: B;
  readonly query: Q;
  readonly caller: CallerByAuth[A];
  /** For `batchAs`: everything that a handler writes for its caller is written under it. */
  readonly authority: AuthorityByAuth[A];
}

export interface Route<
  A extends Auth = Auth,
  B extends Schema | undefined = Schema | undefined,
  Q extends Schema | undefined = Schema | undefined,
> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Parameters in braces: `/agents/{id}`. */
  readonly path: `/${string}`;
  readonly auth: A;
  /** Counted by the sender's address, before anyone asks who is calling: for what strangers may call at a cost. */
  readonly limited?: "address";
  readonly body?: B;
  readonly query?: Q;
  readonly status?: 200 | 201;
  readonly handle: (call: Call<A, Output<B>, Output<Q>>) => Promise<object> | object;
}

/** Declares a route. `auth` has no default: a route that does not say who may call it does not compile. */
export function route<
  A extends Auth,
  B extends Schema | undefined = undefined,
  Q extends Schema | undefined = undefined,
>(declared: Route<A, B, Q>): Route {
  return declared as unknown as Route;
}
