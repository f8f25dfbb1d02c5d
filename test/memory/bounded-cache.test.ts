import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BoundedCache } from "../../src/memory/bounded-cache.ts";

/** What an entry costs beside its value: 128 bytes, and two for each character of its key. */
const entryBytes = (key: string, value: number): number => 128 + key.length * 2 + value;

/** A cache of numbers, each of which says how many bytes it takes. */
const cacheOf = (maxBytes: number) => new BoundedCache<number>(maxBytes, (bytes) => bytes);

describe("a cache of the isolate", () => {
  it("lets the entry go that was used least recently, and counts a read as a use", () => {
    const cache = cacheOf(3 * entryBytes("a", 100));
    for (const key of ["a", "b", "c"]) cache.set(key, 100);
    expect(cache.get("a")).toBe(100);
    cache.set("d", 100);
    expect(["a", "b", "c", "d"].map((key) => cache.get(key))).toEqual([100, undefined, 100, 100]);
    expect(cache.size).toEqual({ entries: 3, bytes: 3 * entryBytes("a", 100) });
  });

  it("lets as many go as one large entry needs", () => {
    const cache = cacheOf(3 * entryBytes("a", 100));
    for (const key of ["a", "b", "c"]) cache.set(key, 100);
    cache.set("d", 300);
    expect(["a", "b", "c", "d"].map((key) => cache.get(key))).toEqual([undefined, undefined, 100, 300]);
  });

  it("keeps no value that alone is larger than it, nor the former value of that key", () => {
    const cache = cacheOf(1000);
    cache.set("a", 100);
    cache.set("b", 100);
    cache.set("a", 1000);
    expect([cache.get("a"), cache.get("b")]).toEqual([undefined, 100]);
    expect(cache.size).toEqual({ entries: 1, bytes: entryBytes("b", 100) });
  });

  it("never holds more than its bytes, and holds what a list in the order of use would", () => {
    const key = fc.constantFrom("a", "bb", "ccc", "dddd", "eeeee");
    const step = fc.oneof(
      fc.record({ kind: fc.constant("set" as const), key, value: fc.nat(700) }),
      fc.record({ kind: fc.constant("get" as const), key }),
      fc.record({ kind: fc.constant("delete" as const), key }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 100, max: 1500 }), (steps, maxBytes) => {
        const cache = cacheOf(maxBytes);
        let list: { key: string; value: number }[] = [];
        const bytes = () => list.reduce((sum, one) => sum + entryBytes(one.key, one.value), 0);
        for (const one of steps) {
          const found = list.find((entry) => entry.key === one.key);
          list = list.filter((entry) => entry !== found);
          if (one.kind === "get") {
            expect(cache.get(one.key)).toBe(found?.value);
            if (found) list.push(found);
          } else if (one.kind === "delete") {
            cache.delete(one.key);
          } else {
            cache.set(one.key, one.value);
            if (entryBytes(one.key, one.value) <= maxBytes) list.push({ key: one.key, value: one.value });
            while (bytes() > maxBytes) list.shift();
          }
          expect(cache.size).toEqual({ entries: list.length, bytes: bytes() });
          expect(cache.size.bytes).toBeLessThanOrEqual(maxBytes);
        }
      }),
    );
  });
});
