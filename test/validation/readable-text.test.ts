import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { registerBody } from "../../src/api/agents.ts";
import { invisibleCharacter, readableLine, readableText } from "../../src/validation/readable-text.ts";
import { createBody, updateBody } from "../../src/api/webhooks.ts";

const line = readableLine(1, 100);
const text = readableText(500);

const INVISIBLE: Record<string, string> = {
  "left-to-right mark": "\u200e",
  "right-to-left mark": "\u200f",
  "Arabic letter mark": "\u061c",
  "bidirectional embedding": "\u202a",
  "bidirectional override": "\u202e",
  "bidirectional isolate": "\u2066",
  "end of an isolate": "\u2069",
  "zero-width space": "\u200b",
  "zero-width non-joiner": "\u200c",
  "zero-width joiner": "\u200d",
  "word joiner": "\u2060",
  "invisible times": "\u2062",
  "byte order mark": "\ufeff",
  "soft hyphen": "\u00ad",
  "combining grapheme joiner": "\u034f",
  "Hangul filler": "\u3164",
  "half-width Hangul filler": "\uffa0",
  "Khmer inherent vowel": "\u17b4",
  "Mongolian vowel separator": "\u180e",
  "Mongolian variation selector": "\u180b",
  "variation selector": "\ufe00",
  "emoji selector": "\ufe0f",
  "variation selector of the supplement": "\u{e0100}",
  tag: "\u{e0041}",
  "language tag": "\u{e0001}",
  "interlinear annotation": "\ufff9",
  "musical format": "\u{1d173}",
  "shorthand format": "\u{1bca0}",
  "line separator": "\u2028",
  "paragraph separator": "\u2029",
  null: "\0",
  escape: "\u001b",
  delete: "\u007f",
  "C1 control": "\u0085",
  "half of a pair": "\ud83d",
  "no character": "\uffff",
};

describe("a name", () => {
  it.each(Object.entries(INVISIBLE))("holds no %s, wherever it is among Latin letters", (_, character) => {
    const shown = `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
    for (const name of [`pay${character}roll`, `7${character}7`, `a${character}${character}b`, `é${character}.`]) {
      expect(invisibleCharacter(name)).toBe(shown);
      expect(line.safeParse(name).success).toBe(false);
      expect(registerBody().safeParse({ name, owner_email: "o@example.com" }).success).toBe(false);
    }
  });

  it.each([
    "Reads orders",
    "Bestellungen für Köln",
    "قارئ الطلبات",
    "קורא הזמנות",
    "می‌خواهم", // Persian: a non-joiner between two letters
    "क्‍ष क्‌ष", // Hindi: joiner and non-joiner after a virama
    "ශ්‍රී ලංකා", // Sinhala: a joiner after a virama
    "注文を読む",
    "주문 읽기",
    "ผู้อ่านคำสั่งซื้อ",
    "e\u0301 with a mark of its own",
    "👩‍💻 and 👩🏽‍🚀",
    "❤️‍🔥 heart on fire",
    "1️⃣ first",
    "🏳️‍🌈",
    "🇩🇪",
    "⚙️ robot™️",
    "C++/C# & co. — “quoted”",
    "§§§",
  ])("may be %s", (name) => {
    expect(line.safeParse(name)).toEqual({ success: true, data: name });
  });

  it.each([
    "\u200d👩",
    "👩\u200d",
    "👩\u200d\u200d💻",
    "👩\u200c💻",
    "❤\ufe0f\ufe0f",
    "1\ufe0f",
    "a\u20e3\ufe0f",
    "م\u200c\u200cخ",
    "م\u200dخ",
    "م\u200cx",
    "क\u200dष",
    "क्\u200d\u200dष",
    "क्\u200b",
    "🏴\u{e0067}\u{e0062}\u{e007f}",
  ])("may hold a joiner or a selector only where it joins or selects: %j", (name) => {
    expect(line.safeParse(name).success).toBe(false);
  });

  it.each(["\u0301\u0301\u0301", "\u2800\u2800\u2800", "\u00a0\u2003\u0300\u3000\u20dd", "\u{e000}\u{e001}\u{e002}"])(
    "is something to see: %j",
    (name) => {
      expect(line.safeParse(name).success).toBe(false);
    },
  );

  it("is trimmed first, as before", () => {
    expect(line.parse("\n  name\t\ufeff")).toBe("name");
  });

  it("that passes never holds two invisible characters side by side, nor begins with one", () => {
    const hidden = /^\p{Default_Ignorable_Code_Point}|\p{Default_Ignorable_Code_Point}{2}/u;
    const unit = fc.constantFrom("a", "7", "क", "्", "م", "👩", "❤", "🏽", "\u20e3", "\u200c", "\u200d", "\ufe0f");
    let passed = 0;
    fc.assert(
      fc.property(fc.string({ unit, minLength: 1, maxLength: 6 }), (name) => {
        if (!line.safeParse(name).success) return true;
        passed += 1;
        // Between two emoji, a joiner follows the selector of the first.
        return !hidden.test(name.replaceAll("\ufe0f\u200d", "\u200d"));
      }),
    );
    expect(passed).toBeGreaterThan(5);
  });
});

describe("a description", () => {
  it("may have lines and tabs, and be empty", () => {
    for (const one of ["", "first\nsecond\r\n\tthird", "x".repeat(500)]) {
      expect(text.safeParse(one)).toEqual({ success: true, data: one });
    }
    expect(text.safeParse("x".repeat(501)).success).toBe(false);
  });

  it("holds nothing invisible, of an agent and of a webhook, made or changed", () => {
    const agent = { name: "An agent", owner_email: "o@example.com" };
    const webhook = { url: "https://example.com", events: ["agent.revoked"] };
    for (const character of [...Object.values(INVISIBLE), "\r"]) {
      const description = `line\nwith${character}something`;
      expect(registerBody().safeParse({ ...agent, description }).success).toBe(false);
      expect(createBody().safeParse({ ...webhook, description }).success).toBe(false);
      expect(updateBody().safeParse({ description }).success).toBe(false);
    }
    expect(registerBody().safeParse({ ...agent, description: "seen" }).success).toBe(true);
    expect(createBody().safeParse({ ...webhook, description: "seen" }).success).toBe(true);
    expect(updateBody().safeParse({ description: null }).success).toBe(true);
  });
});
