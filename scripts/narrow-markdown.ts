import { format } from "oxfmt";

/** How wide a line of README and of docs/ is at the most: what fits on a screen beside a terminal. */
export const MAX_COLUMNS = 100;

/**
 * Markdown in which no line is wider than MAX_COLUMNS, if its code is not. Prose is wrapped. A table with a wider row becomes a
 * list: `- **first cell**: second cell`, and with more columns a list below each first cell, of `header: cell`. A second column
 * without a header stands in brackets. `readPage` of test/outside/support/markdown.ts reads the rows of both.
 */
export async function narrowMarkdown(text: string): Promise<string> {
  const kept: string[] = [];
  const withoutTables = outsideCode(text, (part) =>
    part.replaceAll(/^\|.*\n\|[-| :]+\n(?:\|.*(?:\n|$))*/gm, (table) => {
      const isNarrow = table.split("\n").every((line) => line.length <= MAX_COLUMNS);
      if (!isNarrow) return `${toList(table)}\n`;
      kept.push(table.trimEnd());
      return `${placeholder(kept.length - 1)}\n`;
    }),
  );
  const options = { printWidth: MAX_COLUMNS, proseWrap: "always", embeddedLanguageFormatting: "off" } as const;
  const { code, errors } = await format("page.md", withoutTables, options);
  if (errors.length > 0) throw new Error(errors[0]!.message);
  return kept.reduce((page, table, at) => page.replace(placeholder(at), () => table), code);
}

const placeholder = (at: number): string => `TABLE-${at}-STANDS-HERE`;

/** Changes what stands outside of fenced blocks. */
const outsideCode = (text: string, change: (part: string) => string): string =>
  text
    .split(/(^```[^]*?^```$)/m)
    .map((part, at) => (at % 2 === 0 ? change(part) : part))
    .join("");

function toList(table: string): string {
  const [header = [], , ...rows] = table.trimEnd().split("\n").map(cellsOf);
  return rows.map((row) => toItem(header, row)).join("\n");
}

function toItem(header: readonly string[], [first = "", second = "", ...rest]: readonly string[]): string {
  if (header.length === 2) return `- **${first}**: ${second}`;
  if (header[1] === "") return `- **${first}** (${second}): ${rest.join(" ")}`;
  const filled = [second, ...rest].findLastIndex((cell) => cell !== "") + 1;
  const cells = [second, ...rest]
    .slice(0, filled)
    .map((cell, at) => `  - ${header[at + 1]}: ${cell === "" ? "–" : cell}`);
  return [`- **${first}**`, ...cells].join("\n");
}

const cellsOf = (line: string): string[] =>
  line
    .replace(/^\|/, "")
    .replace(/\|\s*$/, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll(String.raw`\|`, "|"));
