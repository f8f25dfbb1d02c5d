/**
 * Characters that a terminal acts on or that a reader does not see: controls and the escapes that begin with them, line and
 * paragraph separators, halves of a surrogate pair, and what Unicode formats with, the bidirectional controls among them
 * (https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Returns a text that somebody else has written, as one line that does nothing to a terminal: what would act or would not be seen
 * stands as its escape, for example `\u{202e}`.
 */
export const visible = (text: string): string =>
  text.replace(HIDDEN, (char) => SHORT[char] ?? `\\u{${char.codePointAt(0)!.toString(16)}}`);

/** JSON for a program or a reader: the same value, with what {@link visible} escapes written as `\uXXXX`. */
export const visibleJson = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).replace(HIDDEN, (char) =>
    char === "\n"
      ? char
      : Array.from({ length: char.length }, (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`).join(
          "",
        ),
  );

/** What takes two columns of a terminal: East Asian wide characters and emoji. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff01-\uff60\p{Emoji_Presentation}]/u;
const MARK = /\p{M}/u;

const columnsOf = (char: string): number => (MARK.test(char) ? 0 : WIDE.test(char) ? 2 : 1);

/** How many columns of a terminal a visible text takes. */
export const widthOf = (text: string): number => {
  let width = 0;
  for (const char of text) width += columnsOf(char);
  return width;
};

/** The beginning of a text that fits into so many columns, with an ellipsis if something is cut off. */
export function cutTo(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let cut = "";
  let width = 0;
  for (const char of text) {
    width += columnsOf(char);
    if (width > columns - 1) break;
    cut += char;
  }
  return `${cut}…`;
}
