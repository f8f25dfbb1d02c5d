import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bodyHoldsNeedle, needlesOf } from "../../src/gateway/echo.ts";
import { pass } from "../../src/gateway/pass.ts";

const SECRET = "ghp_a+b/c=d0123456789";
const NEEDLES = needlesOf([SECRET]);

/** What gets through of a body in these pieces, and whether it was cut. */
async function through(pieces: readonly Uint8Array[]): Promise<{ text: string; cut: boolean }> {
  const source = new IdentityTransformStream();
  void feed(source.writable, pieces).catch(() => undefined);
  const { readable, writable } = new IdentityTransformStream();
  const end = pass(source.readable, writable, { needles: NEEDLES, links: undefined });
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

  it("is cut amid bytes that are no UTF-8, too, wherever the chunks end", async () => {
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
    it(`finds ${secret} at every place, at the beginning and at the end`, () => {
      const needles = needlesOf([secret]);
      for (const form of needles) {
        const bytes = encode(form);
        for (let before = 0; before < 50; before++) {
          for (const after of [0, 1, 50]) {
            const body = new Uint8Array(before + bytes.length + after).fill(0x7a);
            body.set(bytes, before);
            expect(bodyHoldsNeedle(body, needles)).toBe(true);
            body[before + bytes.length - 1]! ^= 1;
            body[before]! ^= 1;
            expect(bodyHoldsNeedle(body, [form])).toBe(false);
          }
        }
      }
    });
  }

  it("finds it in a view of a longer buffer, and not outside of the view", () => {
    const bytes = encode(`..${SECRET}..`);
    for (const [from, held] of [
      [0, true],
      [1, true],
      [2, true],
      [3, false],
    ] as const) {
      expect(bodyHoldsNeedle(bytes.subarray(from), NEEDLES)).toBe(held);
    }
    expect(bodyHoldsNeedle(bytes.subarray(0, bytes.length - 3), NEEDLES)).toBe(false);
  });
});

describe("an answer that does not", () => {
  it("passes byte for byte, whatever it is and however it is cut", async () => {
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
          fc.pre(!NEEDLES.some((needle) => whole.includes(needle)));
          expect(await through(pieces)).toEqual({ text: whole, cut: false });
        },
      ),
    );
  });

  it("is not held back: an event arrives as it was sent", async () => {
    const upstream = new IdentityTransformStream();
    const { readable, writable } = new IdentityTransformStream();
    void pass(upstream.readable, writable, { needles: NEEDLES, links: undefined });
    const writer = upstream.writable.getWriter();
    const reader = readable.getReader();
    for (const event of ["data: 1\n\n", "data: ghp_\n\n", "data: 3\n\n"]) {
      void writer.write(encode(event));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(event);
    }
  });
});

describe("the forms of a secret", () => {
  it("leave out what is too short to mean anything", () => {
    expect(needlesOf(["abc"])).toEqual([]);
  });
});
