/**
 * The steps by which a key replaces another without an outage. A set is a JWK Set whose first key is in use; all of its keys are
 * good. Between two steps every Worker, and every verifier that keeps the public keys, must have seen the former one.
 */
export interface KeySet<Key = { kid: string }> {
  readonly keys: readonly Key[];
}

/** A step that cannot be taken; the message says why and what comes first. */
export class KeyStepError extends Error {
  override name = "KeyStepError";
}

/** Step 1: the fresh key is known to all and used by none. @throws {KeyStepError} */
export function publish<Key>({ keys }: KeySet<Key>, fresh: Key): KeySet<Key> {
  if (keys.length > 1) {
    throw new KeyStepError(
      "A rotation is under way already: promote the key that was published, then retire the old one.",
    );
  }
  return { keys: [...keys, fresh] };
}

/** Step 2: the key that was published comes first and is used from here on; the old one is still good. @throws {KeyStepError} */
export function promote<Key>({ keys }: KeySet<Key>): KeySet<Key> {
  const newest = keys.at(-1);
  if (keys.length < 2 || newest === undefined)
    throw new KeyStepError("There is one key only: publish a fresh one first.");
  return { keys: [newest, ...keys.slice(0, -1)] };
}

/** Step 3: only the key in use stays. @throws {KeyStepError} */
export function retire<Key>({ keys }: KeySet<Key>): KeySet<Key> {
  if (keys.length < 2) throw new KeyStepError("There is one key only: nothing to retire.");
  return { keys: keys.slice(0, 1) };
}
