import type { PersonAuthority, Role } from "../authority/authority.ts";
import { browserRequired, forbidden, signInRequired } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { logFailure } from "../log/failure-log.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import type { Person, PersonSession } from "../people/person.ts";
import { findSession, markUsed } from "../people/sessions.ts";
import { COMMAND_TOKEN_PREFIX, commandHashOf, hashOf } from "../people/token.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { isRead } from "../policy/rule.ts";
import { limitPersonSession } from "./rate-limit.ts";
import { readSessionCookie, requireOwnPage } from "./session-cookie.ts";

/** A person who is signed in. */
export interface PersonCaller {
  readonly kind: "person";
  readonly id: string;
  readonly name: string;
  readonly person: Person;
  readonly session: PersonSession;
  /** `*:*:*` for an administrator, and nothing for anybody else: they have rights over agents, and no permissions. */
  readonly permissions: ReadonlySet<string>;
  readonly isAdmin: boolean;
  /** Whether they may read what is everybody's. */
  readonly seesAll: boolean;
  /** Whether the agent that `{id}` names is theirs. */
  readonly ownsAgent: boolean;
}

const ADMINISTRATOR: ReadonlySet<string> = new Set([ADMIN]);
const NOBODY: ReadonlySet<string> = new Set();

/** Sessions that this isolate has found, so that requests of somebody who is signed in do not count against their address. */
const knownSessions = new BoundedCache<true>(500_000, () => 100);

/** What finding out who is signed in depends on. */
export type PersonContext = Pick<RequestContext, "request" | "env" | "config" | "now" | "ipAddress" | "waitUntil">;

/**
 * Returns the person who sends a request, or undefined if it has no session's cookie. Counts the request. An unsafe request must come
 * from a page of this deployment. One D1 round trip.
 *
 * @param agentId the agent that the request is about, if it is about one.
 * @throws {ApiError} 400 `several_credentials`, 401 `sign_in_required` for a session that has ended, 403 `cross_origin`, 429.
 */
export async function admitPerson(context: PersonContext, agentId?: string): Promise<PersonCaller | undefined> {
  const { request, env, config, ipAddress, waitUntil } = context;
  const cookie = readSessionCookie(request, config);
  const command = cookie === undefined ? commandTokenOf(request) : undefined;
  if (cookie === undefined && command === undefined) return undefined;
  // A browser adds a cookie by itself; a command's token is there because the command has sent it.
  if (cookie !== undefined && !isRead(request.method)) requireOwnPage(request, config);
  const hash = cookie === undefined ? await commandHashOf(command ?? "") : await hashOf(cookie);
  await limitPersonSession(env, hash, { ipAddress, isKnown: knownSessions.get(hash) === true });
  const found = await findSession(env.DB, hash, agentId);
  if (!found) {
    knownSessions.delete(hash);
    throw signInRequired("The session has ended.");
  }
  knownSessions.set(hash, true);
  if (found.isStale) waitUntil(markUsed(env.DB, found).catch(logLost));
  const { person, session, ownsAgent } = found;
  const isAdmin = person.role === "admin";
  return {
    kind: "person",
    id: person.id,
    name: person.name,
    person,
    session,
    permissions: isAdmin ? ADMINISTRATOR : NOBODY,
    isAdmin,
    seesAll: isAdmin || person.role === "auditor",
    ownsAgent,
  };
}

/** The token of a command that a person has let in, in `Authorization: Bearer`. */
function commandTokenOf({ headers }: Request): string | undefined {
  const [, token] = /^Bearer +([^\s]+) *$/i.exec(headers.get("authorization") ?? "") ?? [];
  return token?.startsWith(COMMAND_TOKEN_PREFIX) ? token : undefined;
}

/** Whether a person calls from a command that they have let in, and not from a browser. */
const isFromCommand = ({ session }: Pick<PersonCaller, "session">): boolean => session.clientId !== null;

/** @throws {ApiError} 403 `browser_required` for a command that a person has let in. @param what as a sentence. */
export function requireBrowser(caller: { readonly kind: "agent" } | PersonCaller, what: string): void {
  if (caller.kind === "person" && isFromCommand(caller)) throw browserRequired(what);
}

const logLost = (cause: unknown): void => logFailure("session_use_not_written", cause);

/**
 * The person who must be signed in for this route.
 *
 * @param fromCommand whether it may also be called from a command that they have let in.
 * @throws {ApiError} as {@link admitPerson}, 403 `person_required` for an agent's token, 403 `browser_required`.
 */
export async function requirePerson(context: PersonContext, fromCommand: boolean): Promise<PersonCaller> {
  const caller = await admitPerson(context);
  if (caller) {
    if (!fromCommand) requireBrowser(caller, "This is about people and how they sign in.");
    return caller;
  }
  if (context.request.headers.has("authorization")) {
    throw forbidden(
      "person_required",
      "Only a person who is signed in may do this. No agent's token is accepted for it, whatever the agent may do.",
    );
  }
  throw signInRequired("Nobody is signed in.");
}

/**
 * Returns the authority with which a person calls a route, if one of the roles that it takes is theirs. An auditor only reads, an owner
 * only reaches the agent that `{id}` names, and a session that a link opened reaches nothing.
 *
 * @param roles which a route takes.
 * @param ofAgent the agent that `{id}` names.
 * @throws {ApiError} 403 `role_required`.
 */
export function authorizePerson(
  { person, session, ownsAgent }: PersonCaller,
  { roles, method, ofAgent }: { roles: readonly Role[]; method: string; ofAgent: string | undefined },
): PersonAuthority {
  const { role } = person;
  if (session.method === "link") {
    throw forbidden(
      "role_required",
      "A sign-in link opens a session that only enrols a passkey. Enrol one, and sign in with it.",
    );
  }
  const may = roles.includes(role) && (role !== "auditor" || isRead(method));
  if (!may)
    throw forbidden("role_required", `This is not for the role ${role}: it is for ${describeRoles(roles, method)}.`);
  const byCommand = session.clientId !== null;
  const authority = { personId: person.id, sessionId: session.id, role, ...(byCommand && { byCommand }) };
  if (role !== "owner" || ofAgent === undefined) return authority;
  if (!ownsAgent) throw forbidden("role_required", "An owner may only do this to an agent of theirs.");
  return { ...authority, ownedAgent: ofAgent };
}

function describeRoles(roles: readonly Role[], method: string): string {
  const able = roles.filter((role) => role !== "auditor" || isRead(method));
  return able.length === 0 ? "agents" : able.join(" and ");
}
