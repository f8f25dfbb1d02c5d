import type { AgentAuthority, Authority, PersonAuthority, Role } from "../authority/authority.ts";
import type { Registrar } from "../agents/register.ts";
import type { Form } from "../http/form.ts";
import type * as http from "../http/route.ts";
import { once } from "../validation/once.ts";
import type { Caller } from "./authenticate.ts";
import type { PersonCaller } from "./person.ts";

/**
 * Who may call a route: agents with their access tokens, and people with their sessions. Which people, {@link rolesOf} says.
 *
 * - `none`: anyone.
 * - `client`: an OAuth client, which the handler authenticates by the request's form or its Authorization header.
 * - `registration`: anyone; an access token, the bootstrap token or a session, if the request carries one, must be valid.
 * - `bootstrap`: the holder of the bootstrap token.
 * - `bearer`: any active agent, and no person.
 * - `member`: any active agent, and any person; the handler shows what the caller may see.
 * - `self`: the agent that `{id}` names, or an admin.
 * - `admin`: an agent that holds `*:*:*`.
 * - `own`: any active agent; the handler responds 404 for what does not belong to the caller.
 * - `person`: no agent, whatever it holds; any person.
 * - `oneself`: no agent; the person that `{id}` names, or one of the roles.
 * - `enrolling`: no agent; the person that `{id}` names, also in a session that a sign-in link opened.
 * - `administrator`: no agent; a person with role admin.
 */
export type Auth =
  | "none"
  | "client"
  | "registration"
  | "bootstrap"
  | "bearer"
  | "member"
  | "self"
  | "admin"
  | "own"
  | "person"
  | "oneself"
  | "enrolling"
  | "administrator";

/** The roles of people that a route takes, unless it says otherwise. An auditor only reads, whatever stands here. */
const ROLES_OF: Readonly<Record<Auth, readonly Role[]>> = {
  none: [],
  client: [],
  registration: ["admin"],
  bootstrap: [],
  bearer: [],
  member: ["admin", "owner", "auditor"],
  self: ["admin", "owner", "auditor"],
  admin: ["admin", "auditor"],
  own: ["admin", "auditor"],
  person: ["admin", "owner", "auditor"],
  oneself: ["admin", "auditor"],
  enrolling: [],
  administrator: ["admin", "auditor"],
};

/** The roles of people that may call a route. Of owners, those whose agent `{id}` names. */
export const rolesOf = ({ auth, roles }: Pick<Route, "auth" | "roles">): readonly Role[] =>
  roles ?? ROLES_OF[auth] ?? [];

/** What a handler knows about a caller that is an agent or a person. */
interface CallerAccess {
  readonly caller: Caller | PersonCaller;
  /** For `batchAsCaller`: everything that a handler writes for its caller is written on this condition. */
  readonly authority: Authority;
}

interface PersonAccess {
  readonly caller: PersonCaller;
  readonly authority: PersonAuthority;
}

/** What a handler knows about its caller, by the route's `auth`. A registrar carries its own authority. */
interface AccessByAuth {
  none: { readonly caller: undefined; readonly authority: undefined };
  client: { readonly caller: undefined; readonly authority: undefined; readonly form: Form };
  registration: {
    readonly caller: Registrar;
    readonly person: PersonCaller | undefined;
    readonly authority: undefined;
  };
  bootstrap: { readonly caller: undefined; readonly authority: undefined };
  bearer: { readonly caller: Caller; readonly authority: AgentAuthority };
  member: CallerAccess;
  self: CallerAccess;
  admin: CallerAccess;
  own: CallerAccess;
  person: PersonAccess;
  oneself: PersonAccess;
  enrolling: PersonAccess;
  administrator: PersonAccess;
}

/** What a handler of a route with this `auth` and path receives, whatever the route's body and query are. */
export type Call<A extends Auth, Path extends string = "/"> = http.Call<AccessByAuth[A], Path, unknown, unknown>;

export type Route = http.MountedRoute<Auth> & {
  /** The roles of people that may call it, where they are others than those of its `auth`. */
  readonly roles?: readonly Role[];
  /**
   * Whether a person confirms each call with a passkey: see `requireAssertion`. It is checked before the handler, and so before an
   * `Idempotency-Key` is looked at: whoever asks for an answer again confirms that too.
   */
  readonly confirmed?: true;
  /**
   * For a route that takes no agents: a person may call it from a command that they have let in (RFC 8628). Without it, only from a
   * browser. Routes that agents may call take such commands, within what `requireBrowser` and the agent's ceiling leave them.
   */
  readonly fromCommand?: true;
};

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
>(
  declared: http.RouteDeclaration<A, AccessByAuth[A], Path, Body, Query, Response> &
    Pick<Route, "roles" | "fromCommand" | "confirmed">,
): Route {
  const { body, query } = declared;
  return { ...declared, ...(body && { body: once(body) }), ...(query && { query: once(query) }) };
}
