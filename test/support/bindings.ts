/** Methods of bindings, and of what they return, that only prepare something. */
const SYNCHRONOUS = new Set(["prepare", "bind", "withSession", "getBookmark"]);

/** The object behind each stand-in: a real binding takes no other, as D1's `batch` does with statements. */
const originals = new WeakMap<object, object>();
const original = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(original);
  return (typeof value === "object" && value !== null && originals.get(value)) || value;
};

function before<T extends object>(binding: T, wait: () => Promise<void>): T {
  const proxy = new Proxy(binding, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const call = (args: unknown[]): unknown => Reflect.apply(value, target, args.map(original));
      if (SYNCHRONOUS.has(String(name))) return (...args: unknown[]) => before(call(args) as object, wait);
      return async (...args: unknown[]) => {
        await wait();
        return call(args);
      };
    },
  });
  originals.set(proxy, binding);
  return proxy;
}

/** A real binding (D1, KV, R2, a queue) of which every operation begins only after so many milliseconds. */
export const slow = <T extends object>(binding: T, ms: number): T => before(binding, () => scheduler.wait(ms));

/** A binding of which every operation fails and does nothing. The message is one that D1 gives for a network that fails. */
export const failing = <T extends object>(binding: T, message = "D1_ERROR: Network connection lost."): T =>
  before(binding, () => Promise.reject(new Error(message)));

/** A binding of which every operation begins once `release` is called, to order what would otherwise be a race. */
export function held<T extends object>(binding: T): { binding: T; release: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { binding: before(binding, () => promise), release: resolve };
}

/**
 * A real binding that counts how many of its operations wait for each other: one that begins after another has ended is a round trip
 * more, and those that run side by side are one. Each operation is held for so many milliseconds, in which those that do not wait for it
 * begin too, so that the count does not depend on how fast the machine is.
 */
export function distant<T extends object>(binding: T, ms: number): { binding: T; roundTrips: () => number } {
  let ended = 0;
  const wait = async (): Promise<void> => {
    const mine = ended + 1;
    await scheduler.wait(ms);
    ended = Math.max(ended, mine);
  };
  return { binding: before(binding, wait), roundTrips: () => ended };
}
