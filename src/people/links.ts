import { newSession, type SignInContext, type SignedIn } from "./sessions.ts";
import { openByLink, readOpenLink, replaceLinks, type NewLink, type OpenLink } from "./store/links.ts";
import type { PersonalChange, RecoveryRequest } from "./change.ts";
import { hashOf, newToken } from "./token.ts";

export type { OpenLink };

/** How long a link can be used, and how long the session lives that it opens, in milliseconds. */
export const LINK_LIFE_MS = 15 * 60_000;

/** A link that signs somebody in once, as it is shown to who has made it, and never again. */
export interface Link {
  readonly token: string;
  /** Milliseconds. */
  readonly expiresAt: number;
}

/** Makes a link for a person. @returns the link, and what is stored of it. */
export async function newLink(personId: string, now: number): Promise<{ link: Link; row: NewLink }> {
  const token = newToken("psl_");
  return {
    link: { token, expiresAt: now + LINK_LIFE_MS },
    row: { id: newToken("lnk_", 24), personId, hash: await hashOf(token), lifeMs: LINK_LIFE_MS },
  };
}

/**
 * Makes a link for a person who exists already: for their recovery, or because an invitation has expired. Links that nobody has used
 * end. The person and the administrators are told. One D1 round trip.
 *
 * @returns undefined if there is no such active person.
 * @throws {AuthorityLostError}
 */
export async function makeLink(
  db: D1Database,
  personId: string,
  change: PersonalChange | RecoveryRequest,
): Promise<Link | undefined> {
  const { link, row } = await newLink(personId, change.now);
  return (await replaceLinks(db, row, change)) ? link : undefined;
}

/** Returns whose link this is and who made it, if it can still be used. */
export const findLink = async (db: D1Database, token: string): Promise<OpenLink | undefined> =>
  readOpenLink(db, await hashOf(token));

/**
 * Signs a person in by their link, which is used up. The session may only enrol a passkey or bind a login. One D1 round trip.
 *
 * @param personId whose link the caller has been told that it is.
 * @returns undefined if the link is not open any more.
 */
export async function signInByLink(
  db: D1Database,
  token: string,
  personId: string,
  context: SignInContext,
): Promise<SignedIn | undefined> {
  const { session, signedIn } = await newSession(personId, context);
  const isOpened = await openByLink(db, await hashOf(token), session, { ...context, lifeMs: LINK_LIFE_MS });
  return isOpened ? { ...signedIn, lifeMs: LINK_LIFE_MS } : undefined;
}
