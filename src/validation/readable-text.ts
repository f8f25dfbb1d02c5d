import * as z from "zod/mini";

/**
 * Characters that a reader does not see: controls, halves of a surrogate pair, line and paragraph separators, and everything
 * that Unicode formats with or lets a font leave out. Among them are the bidirectional controls, which change the order of the text
 * beside them, zero-width characters, tags, variation selectors and fillers (UAX #31 §2.4, UTS #39 §5).
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/u;

/** Signs that join a consonant to the next letter, in the scripts where U+200C and U+200D decide how (RFC 5892 §A.1, §A.2). */
const VIRAMA =
  "\u{94d}\u{9cd}\u{a4d}\u{acd}\u{b4d}\u{bcd}\u{c4d}\u{ccd}\u{d3b}\u{d3c}\u{d4d}\u{dca}\u{1039}\u{17d2}\u{1b44}\u{a8c4}\u{a9c0}";

/**
 * The invisible characters that words and emoji need: a joiner after a virama, a non-joiner between two Arabic letters, a joiner
 * between two emoji, and the selector that makes a symbol or a keycap an emoji. They are refused in any other place, although a few
 * rare spellings need one there.
 */
const SPELT = new RegExp(
  [
    `(?<=[${VIRAMA}])[\u{200c}\u{200d}]`,
    "(?<=\\p{Script=Arabic})\u{200c}(?=\\p{Script=Arabic})",
    "(?<=\\p{Extended_Pictographic}\u{fe0f}?|\\p{Emoji_Modifier})\u{200d}(?=\\p{Extended_Pictographic})",
    "(?<=\\p{Extended_Pictographic})\u{fe0f}",
    "(?<=[0-9#*])\u{fe0f}(?=\u{20e3})",
  ].join("|"),
  "gu",
);

/** A letter, a number, a punctuation mark or a symbol; marks and spaces alone show nothing, nor does U+2800, the blank of Braille. */
const VISIBLE = /(?!\u2800)[\p{L}\p{N}\p{P}\p{S}]/u;

const LINE_BREAKS = /\r\n|[\n\t]/g;

/** The first character of a text that its reader would not see, as `U+200B`; undefined if there is none. */
export function invisibleCharacter(text: string): string | undefined {
  const [found] = INVISIBLE.exec(text.replace(SPELT, "")) ?? [];
  return found && `U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

const invisibleFault = (text: string): string =>
  `must not hold characters that cannot be seen or that turn the direction of a text (${invisibleCharacter(text)})`;

const oneLine = (text: string): string => text.replace(LINE_BREAKS, " ");

/** One line of text that somebody reads before a decision, such as a name: trimmed, without invisible characters, and not blank. */
export const readableLine = (minLength: number, maxLength: number) =>
  z.string().check(
    z.trim(),
    z.minLength(minLength),
    z.maxLength(maxLength),
    z.refine((text) => !invisibleCharacter(text), { error: ({ input }) => invisibleFault(String(input)), abort: true }),
    z.refine((text) => VISIBLE.test(text), { error: "must hold a letter, a number or a symbol" }),
  );

/** The same for a text that may be empty or have several lines. */
export const readableText = (maxLength: number) =>
  z.string().check(
    z.maxLength(maxLength),
    z.refine((text) => !invisibleCharacter(oneLine(text)), {
      error: ({ input }) => invisibleFault(oneLine(String(input))),
    }),
  );
