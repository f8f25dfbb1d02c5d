import type { PersonAuthority } from "../authority/authority.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { timeOrderedId } from "../crypto/random.ts";
import { newChallenge, readChallenge, type Act, type ChallengePurpose } from "./challenge.ts";
import type { RecordOrigin } from "../outbox/record.ts";
import type { Passkey } from "./person.ts";
import type { PersonalChange } from "./change.ts";
import { newSession, type SignInContext, type SignedIn } from "./sessions.ts";
import {
  deletePasskey,
  insertPasskey,
  openByPasskey,
  readPasskey,
  readPasskeys,
  useForAct,
  type Confirmation,
  type StoredPasskey,
  type VerifiedAssertion,
} from "./store/passkeys.ts";
import {
  challengeOf,
  readNewPasskey,
  verifyAssertion,
  type Assertion,
  type Attestation,
  type RelyingParty,
} from "./webauthn.ts";

/** How many passkeys a person may have. */
export const MAX_PASSKEYS = 20;

/** How long a passkey that is not its person's first may not confirm anything, in milliseconds. */
const PASSKEY_WAIT_MS = 86_400_000;

/** What checking an answer to a challenge depends on. */
export interface Ceremony {
  readonly party: RelyingParty;
  readonly peppers: Peppers;
  /** Milliseconds. */
  readonly now: number;
}

/** A challenge for signing in. Whoever answers it is found by the passkey: no address is asked for, and none is told to exist. */
export const signInChallenge = ({ peppers, now }: Ceremony): Promise<string> =>
  newChallenge({ kind: "sign-in" }, now, peppers);

/** A challenge for enrolling a passkey in a session. */
export const enrolChallenge = ({ peppers, now }: Ceremony, sessionId: string): Promise<string> =>
  newChallenge({ kind: "enrol", sessionId }, now, peppers);

/** A challenge for confirming one act in a session. */
export const actChallenge = ({ peppers, now }: Ceremony, sessionId: string, act: Act): Promise<string> =>
  newChallenge({ kind: "act", sessionId, ...act }, now, peppers);

/**
 * Signs somebody in by a passkey. Two D1 round trips.
 *
 * @param context `governor`: the issuer that gives the roles by its claim. Whoever has a login there signs in there, so that a role that was
 * withdrawn is heard of, and confirms acts with a passkey.
 * @returns `refused` for an assertion that is not valid here, one that was used, one of an authenticator that was copied, and for a
 * person who is suspended: nobody learns which. `personId` is for the audit log: whose passkey it is, if the signature is of its key.
 */
export async function signInByPasskey(
  db: D1Database,
  assertion: Assertion,
  ceremony: Ceremony,
  context: SignInContext & { readonly governor: string | null },
): Promise<SignedIn | { readonly refused: true; readonly personId: string | null }> {
  const verified = await verify(db, assertion, { kind: "sign-in" }, ceremony);
  if (!verified) return { refused: true, personId: null };
  const { personId } = verified.passkey;
  const { session, signedIn } = await newSession(personId, context);
  return (await openByPasskey(db, verified.assertion, session, context)) ? signedIn : { refused: true, personId };
}

/**
 * Confirms one act by a passkey of the person who is signed in. Two D1 round trips.
 *
 * @returns `refused` for an assertion that is not valid for exactly this act, that was used, or that is another person's.
 */
export async function confirmAct(
  db: D1Database,
  assertion: Assertion,
  act: Act,
  { by, ceremony }: { by: Pick<PersonAuthority, "personId" | "sessionId">; ceremony: Ceremony },
): Promise<Confirmation> {
  const verified = await verify(db, assertion, { kind: "act", sessionId: by.sessionId, ...act }, ceremony);
  return verified ? useForAct(db, verified.assertion, by.personId) : "refused";
}

async function verify(
  db: D1Database,
  assertion: Assertion,
  purpose: ChallengePurpose,
  { party, peppers, now }: Ceremony,
): Promise<{ passkey: StoredPasskey; assertion: VerifiedAssertion } | undefined> {
  const challenge = challengeOf(assertion.clientDataJSON, "get", party);
  if (challenge === undefined) return undefined;
  // Before the database: a challenge that was not made here, or not for this, costs nothing.
  const expiresAt = await readChallenge(challenge, purpose, now, peppers);
  if (expiresAt === undefined) return undefined;
  const passkey = await readPasskey(db, assertion.id);
  if (!passkey) return undefined;
  const counter = await verifyAssertion(assertion, passkey.publicKey, party);
  if (counter === undefined) return undefined;
  return { passkey, assertion: { passkeyId: passkey.id, challenge, expiresAt, counter } };
}

/**
 * Enrols a passkey of the person who is signed in. Their first may confirm acts at once, another one after {@link PASSKEY_WAIT_MS}.
 *
 * @param isConfirmed whether they have confirmed it with a passkey that they have. Otherwise their session must be one that may enrol
 * one: of a link, or of a login at the provider that asked for it.
 * @returns undefined if it is not valid here, may not be enrolled, or is enrolled already.
 * @throws {AuthorityLostError}
 */
export async function enrolPasskey(
  db: D1Database,
  { attestation, label, isConfirmed }: { attestation: Attestation; label: string; isConfirmed: boolean },
  { by, origin, ceremony }: { by: PersonAuthority; origin: RecordOrigin; ceremony: Ceremony },
): Promise<Passkey | undefined> {
  const { party, peppers, now } = ceremony;
  const challenge = challengeOf(attestation.clientDataJSON, "create", party);
  if (challenge === undefined) return undefined;
  const purpose = { kind: "enrol", sessionId: by.sessionId } as const;
  const expiresAt = await readChallenge(challenge, purpose, now, peppers);
  const passkey = expiresAt === undefined ? undefined : await readNewPasskey(attestation, party);
  if (!passkey || expiresAt === undefined) return undefined;
  const row = { id: timeOrderedId("pky_", now), label, passkey, challenge, expiresAt, isConfirmed };
  return insertPasskey(db, row, { by, now, origin, waitMs: PASSKEY_WAIT_MS, max: MAX_PASSKEYS });
}

/** A person's passkeys and their credential ids. Undefined if there is no such person. */
export async function listPasskeys(
  db: D1Database,
  personId: string,
): Promise<{ passkeys: Passkey[]; credentialIds: string[] } | undefined> {
  const { personExists, ...found } = await readPasskeys(db, personId);
  return personExists ? found : undefined;
}

/**
 * Deletes a passkey and ends the sessions that passkeys opened, but for that of whoever deletes it, unless the person could not sign in any
 * more.
 *
 * @throws {AuthorityLostError}
 */
export const removePasskey = (
  db: D1Database,
  personId: string,
  passkeyId: string,
  change: PersonalChange,
): Promise<"deleted" | "last" | "unknown"> => deletePasskey(db, personId, passkeyId, change);
