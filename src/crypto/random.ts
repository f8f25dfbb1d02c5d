const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const HEX = "0123456789abcdef";

/** `length` characters of [0-9A-Za-z], uniformly drawn. */
export function randomBase62(length: number): string {
  let text = "";
  while (text.length < length) {
    for (const byte of crypto.getRandomValues(new Uint8Array(length * 2))) {
      // 248 = 4 × 62: a byte above it would favour the first characters.
      if (byte < 248 && text.length < length) text += BASE62[byte % 62];
    }
  }
  return text;
}

/** A number in base 62, left-padded with zeros. */
export function toBase62(value: number, width: number): string {
  let text = "";
  for (let rest = value; text.length < width; rest = Math.floor(rest / 62)) text = BASE62[rest % 62] + text;
  return text;
}

/** An id that sorts by its time: a UUIDv7 (RFC 9562 §5.7) after a prefix. */
export function timeOrderedId(prefix: string, now: number): string {
  // The random bits and the variant are those of a UUIDv4, which the runtime makes in one call.
  const uuid = crypto.randomUUID();
  return `${prefix}${now.toString(16).padStart(12, "0")}7${uuid.slice(15, 18)}${uuid.slice(19, 23)}${uuid.slice(24)}`;
}

/** A UUIDv7 (RFC 9562 §5.7): it sorts by its time. @param now milliseconds. */
export const newUuid = (now: number): string =>
  timeOrderedId("", now).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  // Each record has 32 random bytes, and this costs a sixth of converting every one of them as a number.
  for (const byte of bytes) text += HEX[byte >> 4]! + HEX[byte & 15]!;
  return text;
}
