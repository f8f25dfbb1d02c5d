/** What an entry costs beside its key and its value: the objects of the map and of the value. */
const ENTRY_BYTES = 128;

/**
 * A cache of the isolate that holds at most a number of bytes, as its values estimate theirs. The entry that was used least recently
 * leaves first.
 *
 * A key is an id or a digest and never a secret: a heap that is dumped shows none.
 *
 * @example
 * const cache = new BoundedCache<Claims>(4_000_000, (claims) => 200 + claims.scope.join(" ").length);
 */
export class BoundedCache<Value> {
  /** A Map keeps the order of insertion: the first entry is the one that was used least recently. */
  readonly #entries = new Map<string, { readonly value: Value; readonly bytes: number }>();
  readonly #maxBytes: number;
  readonly #sizeOf: (value: Value) => number;
  #bytes = 0;

  /** @param sizeOf the bytes of a value, roughly. */
  constructor(maxBytes: number, sizeOf: (value: Value) => number) {
    this.#maxBytes = maxBytes;
    this.#sizeOf = sizeOf;
  }

  /** The value of a key, which is now the one used most recently; undefined if there is none. */
  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** A value that alone is larger than the cache is not kept. */
  set(key: string, value: Value): void {
    this.delete(key);
    // A character of a string takes up to two bytes.
    const bytes = ENTRY_BYTES + key.length * 2 + this.#sizeOf(value);
    if (bytes > this.#maxBytes) return;
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }

  /** What the cache holds now. */
  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }
}
