/**
 * Returns a function that makes a value with its first call, and returns that value from then on. Schemas are made this way: there are
 * hundreds of them, most belong to routes that an isolate never serves, and all of them together took half of the Worker's start.
 *
 * A bundle leaves out a value that nothing uses.
 */
/* @__NO_SIDE_EFFECTS__ */
export function once<T extends object | undefined>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
