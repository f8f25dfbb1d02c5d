import { SESSION_LIFE_MS } from "../authority/person-row.ts";
import { timeOrderedId } from "../crypto/random.ts";
import type { RecordOrigin } from "../outbox/record.ts";
import type { PersonSession } from "./person.ts";
import {
  deleteSession,
  deleteSessionByHash,
  readSession,
  readSessions,
  touchSession,
  type FoundSession,
  type NewSession,
} from "./store/sessions.ts";
import type { PersonalChange, RecordedRequest } from "./change.ts";
import { COMMAND_TOKEN_PREFIX, commandHashOf, hashOf, newToken } from "./token.ts";

/** From where and when somebody signs in. */
export interface SignInContext {
  /** Empty if it is not known. */
  readonly ipAddress: string;
  readonly userAgent: string;
  /** Milliseconds. */
  readonly now: number;
  /** The request, for the audit log. */
  readonly origin: RecordOrigin;
}

/** A session that has just been opened, with the token that its cookie has. */
export interface SignedIn {
  readonly sessionId: string;
  readonly token: string;
  /** Milliseconds. */
  readonly lifeMs: number;
}

const MAX_USER_AGENT_LENGTH = 200;

/** Makes a session for a person: what is stored of it, and what its cookie has. A session never takes over the token of another one. */
export async function newSession(
  personId: string,
  { ipAddress, userAgent, now }: Omit<SignInContext, "origin">,
): Promise<{ session: NewSession; signedIn: SignedIn }> {
  const token = newToken("ps_");
  const id = timeOrderedId("pse_", now);
  const session = {
    id,
    personId,
    hash: await hashOf(token),
    ipAddress,
    userAgent: userAgent.slice(0, MAX_USER_AGENT_LENGTH),
  };
  return { session, signedIn: { sessionId: id, token, lifeMs: SESSION_LIFE_MS } };
}

/** Makes a session for a command, of whom the person is said where it is opened. */
export async function newCommandSession(
  clientId: string,
  context: Omit<SignInContext, "origin">,
): Promise<{ session: Omit<NewSession, "personId"> & { readonly clientId: string }; token: string }> {
  const token = newToken(COMMAND_TOKEN_PREFIX);
  const {
    session: { personId: _nobody, ...session },
  } = await newSession("", context);
  return { session: { ...session, hash: await commandHashOf(token), clientId }, token };
}

/** Ends the session of a command by its token. */
export const endCommandSession = async (db: D1Database, token: string, request: RecordedRequest): Promise<void> =>
  deleteSessionByHash(db, await commandHashOf(token), request);

export type { FoundSession };

/**
 * Finds the session of a cookie by the hash of its token, if it has not ended. One D1 round trip.
 *
 * @param agentId an agent of which the caller wants to know whether it is the person's.
 */
export const findSession = (
  db: D1Database,
  hash: string,
  agentId: string | undefined,
): Promise<FoundSession | undefined> => readSession(db, hash, agentId);

/** Writes that a session is used, so that it does not end by being idle. Called if it `isStale`. */
export const markUsed = (db: D1Database, { session }: FoundSession): Promise<void> => touchSession(db, session.id);

/** The sessions of a person, the newest first. Undefined if there is no such person. @param before an id. */
export async function listPersonSessions(
  db: D1Database,
  personId: string,
  page: { limit: number; before: string | undefined },
): Promise<PersonSession[] | undefined> {
  const { sessions, personExists } = await readSessions(db, personId, page);
  return personExists ? sessions : undefined;
}

/** Ends a session of a person at once. Returns whether there was one. @throws {AuthorityLostError} */
export const endPersonSession = (
  db: D1Database,
  personId: string,
  sessionId: string,
  change: PersonalChange,
): Promise<boolean> => deleteSession(db, personId, sessionId, change);

/** Ends the session of a cookie. */
export const signOut = async (db: D1Database, token: string, request: RecordedRequest): Promise<void> =>
  deleteSessionByHash(db, await hashOf(token), request);
