/**
 * The steps by which a key replaces another without an outage. A set is a JWK Set whose first key is in use; all of its keys are
 * good. Between two steps every Worker, and every verifier that keeps the public keys, must have seen the former one.
 */
export interface KeySet<Key extends SetKey = SetKey> {
  readonly keys: readonly Key[];
}

interface SetKey {
  /** Of a JWK. */
  readonly kid?: string;
  /** Of a key of `SECRET_PEPPER`. */
  readonly id?: string;
  /** It was in use before the first key: what is left is to retire it. Without this a step taken twice would undo itself. */
  readonly superseded?: true;
}

/** A step that cannot be taken; the message says why and what comes first. */
export class KeyStepError extends Error {
  override name = "KeyStepError";
}

/** Step 1: the fresh key is known to all and used by none. @throws {KeyStepError} */
export function publish<Key extends SetKey>({ keys }: KeySet<Key>, fresh: Key): KeySet<Key> {
  if (keys.length > 1) {
    throw new KeyStepError(`A rotation is under way already: ${nextStep(keys)}.`);
  }
  return { keys: [...keys, fresh] };
}

/** Step 2: the key that was published comes first and is used from here on; the old one is still good. @throws {KeyStepError} */
export function promote<Key extends SetKey>({ keys }: KeySet<Key>): KeySet<Key> {
  const newest = keys.at(-1);
  if (keys.length < 2 || newest === undefined) {
    throw new KeyStepError("There is one key only: publish a fresh one first.");
  }
  if (newest.superseded) throw new KeyStepError(`The key that was published is in use already: ${nextStep(keys)}.`);
  const old = keys.slice(0, -1).map((key) => Object.assign({}, key, { superseded: true }));
  return { keys: [newest, ...old] };
}

/** Step 3: only the key in use stays. @throws {KeyStepError} */
export function retire<Key extends SetKey>({ keys }: KeySet<Key>): KeySet<Key> {
  if (keys.length < 2) throw new KeyStepError("There is one key only: nothing to retire.");
  if (!keys.at(-1)?.superseded) {
    throw new KeyStepError(`The key that was published is not in use yet: ${nextStep(keys)}.`);
  }
  return { keys: keys.slice(0, 1) };
}

const nextStep = (keys: readonly SetKey[]): string =>
  keys.at(-1)?.superseded ? "retire the old one next" : "promote the published one next";
