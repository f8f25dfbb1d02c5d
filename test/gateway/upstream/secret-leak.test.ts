import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { streamBody } from "../../../src/gateway/upstream/stream-body.ts";
import {
  containsSecret,
  secretEncodings,
  secretScanner,
  type SecretEncodings,
} from "../../../src/gateway/upstream/secret-leak.ts";
import { SLOW, extents } from "../../support/extents.ts";
import { asciiTexts, ENCODERS, picks } from "../../support/encoders.ts";

const SECRET = "ghp_a+b/c=d0123456789";
const ENCODINGS = secretEncodings([SECRET]);

/** What gets through of a body in these pieces, and whether it was cut. */
async function through(pieces: readonly Uint8Array[]): Promise<{ text: string; cut: boolean }> {
  const source = new IdentityTransformStream();
  void feed(source.writable, pieces).catch(() => undefined);
  const { readable, writable } = new IdentityTransformStream();
  const end = streamBody(source.readable, writable, { secretEncodings: ENCODINGS, links: undefined });
  const reader = readable.getReader();
  const decoder = new TextDecoder("latin1");
  let text = "";
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += decoder.decode(read.value);
  } catch {
    expect(await end).toBe("credential_echo");
  }
  return { text, cut: (await end) === "credential_echo" };
}

async function feed(writable: WritableStream<Uint8Array>, pieces: readonly Uint8Array[]): Promise<void> {
  const writer = writable.getWriter();
  for (const piece of pieces) if (piece.length > 0) await writer.write(piece);
  await writer.close();
}

const encode = (text: string) => new TextEncoder().encode(text);
const bytesOf = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const cutInto = (bytes: Uint8Array, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));

const FORMS: Record<string, string> = {
  "as it is": SECRET,
  "in JSON": JSON.stringify({ authorization: `Bearer ${SECRET}` }),
  "in JSON with escaped slashes": JSON.stringify(SECRET).replaceAll("/", "\\/"),
  "percent-encoded": encodeURIComponent(SECRET),
  "in JSON for HTML": SECRET.replaceAll("+", "\\u002B"),
  "in JSON for HTML, in lower case": SECRET.replaceAll("+", "\\u002b"),
  "percent-encoded in lower case": encodeURIComponent(SECRET).replace(/%../g, (code) => code.toLowerCase()),
  "in base64": btoa(SECRET),
  "in base64, one byte on": btoa(`x${SECRET}y`),
  "in base64, two bytes on": btoa(`xx${SECRET}yy`),
  "in base64url": btoa(`user:${SECRET}`).replaceAll("+", "-").replaceAll("/", "_"),
};

describe("an answer that holds the credential", () => {
  for (const [form, text] of Object.entries(FORMS)) {
    it(`is cut before it, ${form}, wherever the chunks end`, async () => {
      for (const size of [1, 2, 3, 7, 16, 1000]) {
        const { text: got, cut } = await through(cutInto(encode(`before ${text} after`), size));
        expect(cut).toBe(true);
        expect("before ".startsWith(got.slice(0, 7))).toBe(true);
        expect(got.length).toBeLessThan("before ".length + text.length - 12);
      }
    });
  }

  it("is cut amid bytes that are no UTF-8, too, wherever the chunks end", SLOW, async () => {
    const noise = fc.uint8Array({ maxLength: 30, min: 0x70 });
    await fc.assert(
      fc.asyncProperty(noise, noise, fc.integer({ min: 1, max: 80 }), async (before, after, size) => {
        const whole = new Uint8Array([...before, ...encode(SECRET), ...after]);
        expect((await through(cutInto(whole, size))).cut).toBe(true);
      }),
    );
  });

  it("is found at every offset of longer base64", async () => {
    for (let offset = 0; offset < 9; offset++) {
      const { cut } = await through([encode(btoa("#".repeat(offset) + SECRET + "#".repeat(9 - offset)))]);
      expect(cut).toBe(true);
    }
  });
});

describe("the search of a body", () => {
  // The shortest that is looked for, one that fills no words, lengths around a word's, one byte again and again, not ASCII.
  for (const secret of ["12345678", "123456789", "xoxb-012345", "s".repeat(41), "ghp_0123456789", "pässwörd-€"]) {
    it(`finds ${secret} at every place, at the beginning and at the end`, SLOW, () => find(secret, 50));
  }
  it("finds it at each place of a word, at the beginning and at the end", () => find("ghp_0123456789", 8));

  function find(secret: string, places: number): void {
    const encodings = secretEncodings([secret]);
    for (const form of encodings) {
      const bytes = bytesOf(form);
      for (let before = 0; before < places; before++) {
        for (const after of [0, 1, 50]) {
          const body = new Uint8Array(before + bytes.length + after).fill(0x7a);
          body.set(bytes, before);
          expect(containsSecret(body, encodings)).toBe(true);
          body[before + bytes.length - 1]! ^= 1;
          body[before]! ^= 1;
          expect(containsSecret(body, [form])).toBe(false);
        }
      }
    }
  }

  it("finds it in a view of a longer buffer, and not outside of the view", () => {
    const bytes = encode(`..${SECRET}..`);
    for (const [from, held] of [
      [0, true],
      [1, true],
      [2, true],
      [3, false],
    ] as const) {
      expect(containsSecret(bytes.subarray(from), ENCODINGS)).toBe(held);
    }
    expect(containsSecret(bytes.subarray(0, bytes.length - 3), ENCODINGS)).toBe(false);
  });
});

/** What a scanner clears of a body in these pieces, and whether it found the secret. */
function scanned(bytes: Uint8Array, size: number, encodings: SecretEncodings): { clear: number; found: boolean } {
  const scan = secretScanner(encodings);
  let clear = 0;
  for (let end = Math.min(size, bytes.length); ; end = Math.min(end + size, bytes.length)) {
    const result = scan(bytes.slice(clear, end));
    if (result === "secret") return { clear, found: true };
    clear += result.clear;
    if (end === bytes.length) return { clear, found: false };
  }
}

describe("a secret that an encoder wrote", () => {
  const around = asciiTexts(0, 90);
  const seeds = fc.nat();

  const each = extents(2, 100).flatMap(({ numRuns, options }) =>
    Object.entries(ENCODERS).map(([name, encoder]) => ({ name, encoder, numRuns, options })),
  );

  for (const { name, encoder, numRuns, options } of each) {
    it(`as ${name} is found at every place, wherever the pieces end, ${numRuns} times`, options, () => {
      fc.assert(
        fc.property(
          around,
          asciiTexts(16, 60),
          around,
          seeds,
          fc.integer({ min: 1, max: 40 }),
          (before, secret, after, seed, size) => {
            const encodings = secretEncodings([secret]);
            const bytes = encoder(before + secret + after, picks(seed));
            expect(containsSecret(bytes, encodings)).toBe(true);
            const { clear, found } = scanned(bytes, size, encodings);
            expect(found).toBe(true);
            // At most as much of the secret is passed on as stands before the end of a line.
            expect(clear).toBeLessThanOrEqual(encoder(before + secret.slice(0, 12), picks(seed)).length + 4);
          },
        ),
        { numRuns },
      );
    });

    it(`as ${name} is another one where a single character differs, ${numRuns} times`, options, () => {
      fc.assert(
        fc.property(
          around,
          asciiTexts(16, 60),
          around,
          seeds,
          fc.integer({ min: 1, max: 40 }),
          (before, secret, after, seed, size) => {
            // In base64 the first and the last character share some of their bits with their neighbors.
            const at = 1 + (seed % (secret.length - 2));
            const other = secret.slice(0, at) + (secret[at] === "x" ? "y" : "x") + secret.slice(at + 1);
            const text = before + other + after;
            fc.pre(!text.includes(secret));
            const encodings = secretEncodings([secret]);
            const bytes = encoder(text, picks(seed));
            expect(containsSecret(bytes, encodings)).toBe(false);
            expect(scanned(bytes, size, encodings).found).toBe(false);
          },
        ),
        { numRuns },
      );
    });
  }

  it.each(Object.keys(ENCODERS).filter((name) => !/HTML, by name/.test(name)))(
    "as %s is found if it is not ASCII",
    (name) => {
      for (const secret of ["pässwörd-ß-für-alle", "пароль/для+всех=", "key-🔑-of-the-house"]) {
        const encodings = secretEncodings([secret]);
        for (const before of ["", "x", "xy", "-".repeat(55)]) {
          if (/UTF-(16|32) (?!LE)|UTF-32|UTF-16$/.test(name)) continue;
          const bytes = ENCODERS[name]!(`${before}${secret}--`, picks(7));
          expect(containsSecret(bytes, encodings), secret + before).toBe(true);
        }
      }
    },
  );
});

describe("an answer that does not", () => {
  for (const { numRuns, options } of extents(20, 200)) {
    it(`passes byte for byte, whatever it is and however it is cut, ${numRuns} times`, options, () => pass(numRuns));
  }

  async function pass(numRuns: number): Promise<void> {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 40 }),
            fc.nat({ max: SECRET.length - 1 }).map((end) => encode(SECRET.slice(0, end))),
            fc.nat({ max: 12 }).map((end) => encode(btoa(SECRET).slice(0, end))),
          ),
        ),
        async (pieces) => {
          const whole = pieces.map((piece) => new TextDecoder("latin1").decode(piece)).join("");
          fc.pre(!ENCODINGS.some((encoding) => whole.includes(encoding)));
          expect(await through(pieces)).toEqual({ text: whole, cut: false });
        },
      ),
      { numRuns },
    );
  }

  it("is not held back: an event arrives as it was sent", async () => {
    const upstream = new IdentityTransformStream();
    const { readable, writable } = new IdentityTransformStream();
    void streamBody(upstream.readable, writable, { secretEncodings: ENCODINGS, links: undefined });
    const writer = upstream.writable.getWriter();
    const reader = readable.getReader();
    for (const event of [
      "data: 1\n\n",
      "data: ghp_\n\n",
      "data: 3\n\n",
      "a line that ends with g\n",
      "\tghp_\n",
      "}\n",
    ]) {
      void writer.write(encode(event));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(event);
    }
  });
});

describe("the forms of a secret", () => {
  it("leave out what is too short to mean anything", () => {
    expect(secretEncodings(["abc"])).toEqual([]);
  });
});
