import type { PersonAuthority } from "../authority/authority.ts";
import { SESSION_LIFE_MS } from "../authority/person-row.ts";
import { timeOrderedId } from "../crypto/random.ts";
import { HOUR_MS } from "../time/lengths.ts";
import type { Login, Role } from "./person.ts";
import { MAX_FRESH_AGE_SECONDS, type ProviderLogin } from "./provider.ts";
import type { LoginPurpose } from "./login-flow.ts";
import { newSession, type SignInContext, type SignedIn } from "./sessions.ts";
import {
  bindLogin,
  deleteLogin,
  endAllSessions,
  openByLogin,
  readLoginPerson,
  readLogins,
  type OpenedLogin,
} from "./store/logins.ts";
import type { PersonalChange } from "./change.ts";

/** How many logins a person may have. */
const MAX_LOGINS = 5;

/**
 * How long a session lives that a login opened, in milliseconds, where the provider's claim gives the role: until then a role that was
 * withdrawn there is not heard of.
 */
const GOVERNED_LIFE_MS = 12 * HOUR_MS;

export type SignedInByLogin =
  | { readonly result: "signed_in"; readonly personId: string; readonly signedIn: SignedIn }
  /** `role_withdrawn`: the claim has no role any more. `last_administrator`: it would take the last administrator's away. */
  | {
      readonly result: "unknown" | "suspended" | "role_withdrawn" | "last_administrator" | "taken" | "too_many";
      readonly personId: string | null;
    };

/** A login whose role has not been withdrawn. */
type AcceptedLogin = ProviderLogin & { readonly role: Role | undefined };

/** What a login at the provider was begun for, and in which browser. */
interface LoginContext extends SignInContext {
  readonly purpose: LoginPurpose;
  /** The hash of the session that the browser had, which ends. */
  readonly formerSession: string | null;
}

/**
 * Signs somebody in by a login at the provider, which is bound to a person: nobody is found by an address, and nobody is made. Where a
 * claim gives the roles, the person has the role of the claim from now on. Two D1 round trips.
 *
 * @throws {AuthorityLostError} if it was to be bound in a session that has ended.
 */
export async function signInByLogin(
  db: D1Database,
  login: ProviderLogin,
  context: LoginContext,
): Promise<SignedInByLogin> {
  const { purpose, now } = context;
  const { role } = login;
  const found = await readLoginPerson(db, login);
  if (purpose.kind === "bind") {
    if (found && found.personId !== purpose.personId) return { result: "taken", personId: purpose.personId };
    if (role === null) return { result: "role_withdrawn", personId: purpose.personId };
    if (!found) return bind(db, { ...login, role }, purpose, context);
  }
  if (!found) return { result: "unknown", personId: null };
  const { personId, status } = found;
  if (status !== "active") return { result: "suspended", personId };
  if (role === null) {
    await endAllSessions(db, personId, { origin: context.origin, now });
    return { result: "role_withdrawn", personId };
  }
  const { opened, signedIn } = await newLoginSession(personId, { ...login, role }, context);
  if (await openByLogin(db, login, opened)) return { result: "signed_in", personId, signedIn };
  return { result: "last_administrator", personId };
}

async function newLoginSession(
  personId: string,
  { role, authTime }: AcceptedLogin,
  context: LoginContext,
): Promise<{ opened: OpenedLogin; signedIn: SignedIn }> {
  const { purpose, formerSession, origin, now } = context;
  const lifeMs = role === undefined ? SESSION_LIFE_MS : GOVERNED_LIFE_MS;
  const { session, signedIn } = await newSession(personId, context);
  // A passkey is enrolled after a proof that was asked for; who binds a login may go on and enrol one too.
  const enrolMs = purpose.kind === "sign-in" ? null : MAX_FRESH_AGE_SECONDS * 1000;
  const opened = { session, role, authTime, lifeMs, enrolMs, formerSession, origin, now };
  return { opened, signedIn: { ...signedIn, lifeMs } };
}

async function bind(
  db: D1Database,
  login: AcceptedLogin,
  { personId, sessionId, role }: Extract<LoginPurpose, { kind: "bind" }>,
  context: LoginContext,
): Promise<SignedInByLogin> {
  const by: PersonAuthority = { personId, sessionId, role, byLink: true };
  const { opened, signedIn } = await newLoginSession(personId, login, context);
  const id = timeOrderedId("lgn_", context.now);
  const result = await bindLogin(db, { id, login, by, max: MAX_LOGINS }, opened);
  return result === "bound" ? { result: "signed_in", personId, signedIn } : { result, personId };
}

/** A person's logins. Undefined if there is no such person. */
export async function listLogins(db: D1Database, personId: string): Promise<Login[] | undefined> {
  const { logins, personExists } = await readLogins(db, personId);
  return personExists ? logins : undefined;
}

/**
 * Deletes a login and ends the sessions that logins opened, unless the person could not sign in any more.
 *
 * @param governor the issuer that gives the roles by its claim: nobody deletes their own last login there (`governed`), because they would
 * keep the role with a passkey, and nobody would hear that it was withdrawn. Null: none does.
 * @throws {AuthorityLostError}
 */
export const removeLogin = (
  db: D1Database,
  personId: string,
  loginId: string,
  { governor, ...change }: PersonalChange & { readonly governor: string | null },
): Promise<"deleted" | "last" | "governed" | "unknown"> =>
  deleteLogin(db, personId, loginId, { ...change, governor: change.by.personId === personId ? governor : null });
