import { expect, it } from "vitest";
import { decodeUtf8 } from "../../src/validation/utf8.ts";

it("decodes a text whatever came before it: what is not UTF-8, or ends within a character, leaves nothing behind", () => {
  const text = "\ufeffé∑😀";
  const good = new TextEncoder().encode(text);
  const bad = [[0xff], [0xc3], [0xe2, 0x88], [0xf0, 0x9f, 0x98], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0x41, 0xe2]];
  for (const bytes of bad) {
    expect(decodeUtf8(Uint8Array.from(bytes))).toBeUndefined();
    expect(decodeUtf8(good)).toBe(text);
    expect(decodeUtf8(Uint8Array.of(0xa9))).toBeUndefined();
    expect(decodeUtf8(new Uint8Array())).toBe("");
  }
});
