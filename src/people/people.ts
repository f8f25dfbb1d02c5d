import type { Role } from "../authority/authority.ts";
import { timeOrderedId } from "../crypto/random.ts";
import type { PersonalChange, RecordedRequest } from "./change.ts";
import { newLink, type Link } from "./links.ts";
import type { Notice, Person } from "./person.ts";
import { readNotices } from "./store/notices.ts";
import {
  deletePerson,
  insertFirstPerson,
  insertPerson,
  readPeople,
  readPerson,
  readPersonByEmail,
  updatePerson,
  type PersonChange,
} from "./store/people.ts";

export type { PersonChange };

/** What is said of a new person. */
export interface NewPerson {
  /** As `normalizeEmail` spells it. */
  readonly email: string;
  readonly name: string;
  readonly role: Role;
}

export interface InvitedPerson {
  readonly person: Person;
  readonly link: Link;
}

/**
 * Makes the first person, who administers the deployment, with a link that signs them in. One conditional insert: of many that are
 * tried at once, one succeeds. One D1 round trip.
 *
 * @returns undefined if there is a person already.
 */
export async function bootstrapFirstPerson(
  db: D1Database,
  { email, name }: Omit<NewPerson, "role">,
  request: RecordedRequest,
): Promise<InvitedPerson | undefined> {
  const person = toNewPerson({ email, name, role: "admin" }, request.now);
  const { link, row } = await newLink(person.id, request.now);
  return (await insertFirstPerson(db, person, row, request)) ? { person, link } : undefined;
}

/**
 * Invites a person: makes them, with a link that signs them in. One D1 round trip.
 *
 * @returns undefined if a person has the address already.
 * @throws {AuthorityLostError}
 */
export async function invitePerson(
  db: D1Database,
  newPerson: NewPerson,
  change: PersonalChange,
): Promise<InvitedPerson | undefined> {
  const person = toNewPerson(newPerson, change.now);
  const { link, row } = await newLink(person.id, change.now);
  return (await insertPerson(db, person, row, change)) ? { person, link } : undefined;
}

const toNewPerson = (person: NewPerson, now: number): Person => ({
  id: timeOrderedId("per_", now),
  ...person,
  status: "active",
  createdAt: now,
  joinedAt: null,
  lastSignedInAt: null,
});

export type ChangedPerson =
  | { readonly result: "changed" | "unchanged"; readonly person: Person }
  | { readonly result: "unknown" | "email_taken" | "last_administrator" };

/**
 * Changes a person, unless nobody would be left who administers the deployment. Their sessions have the new role with the next
 * request; who is suspended is signed out. One D1 round trip.
 *
 * @throws {AuthorityLostError}
 */
export async function changePerson(
  db: D1Database,
  id: string,
  change: PersonChange,
  context: PersonalChange,
): Promise<ChangedPerson> {
  const { changed, person, emailTaken } = await updatePerson(db, id, change, context);
  if (!person) return { result: "unknown" };
  if (changed) return { result: "changed", person };
  if (emailTaken) return { result: "email_taken" };
  const differs = Object.entries(change).some(
    ([key, value]) => value !== undefined && person[key as keyof PersonChange] !== value,
  );
  return differs ? { result: "last_administrator" } : { result: "unchanged", person };
}

/** Deletes a person with their sessions and passkeys, unless nobody would be left who administers the deployment. */
export const removePerson = (
  db: D1Database,
  id: string,
  change: PersonalChange,
): Promise<"deleted" | "last_administrator" | "unknown"> => deletePerson(db, id, change);

/** One page of people, in the order in which they were made. @param after the id of the last person of the page before. */
export const listPeople = (db: D1Database, after: string, limit: number): Promise<Person[]> =>
  readPeople(db, after, limit);

/** The person with an address, as `normalizeEmail` spells it. */
export const findPersonByEmail = (db: D1Database, email: string): Promise<Person | undefined> =>
  readPersonByEmail(db, email);

export const findPerson = (db: D1Database, id: string): Promise<Person | undefined> => readPerson(db, id);

const MAX_NOTICES = 50;

/** What a person was told lately, the newest first. */
export const listNotices = (db: D1Database, personId: string): Promise<Notice[]> =>
  readNotices(db, personId, MAX_NOTICES);
