import { cutTo, visible, widthOf } from "./visible.ts";

/** What a cell shows; null and undefined show a dash. */
export type Cell = string | number | boolean | null | undefined;

const textOf = (cell: Cell): string => {
  if (cell === null || cell === undefined || cell === "") return "-";
  return visible(String(cell));
};

/**
 * Returns a table for people: a line of headings, then a line for each row, with two spaces between columns.
 *
 * @param columns how wide the terminal is, undefined for a file or a pipe. The widest column is cut where a line would be longer.
 */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[], columns?: number): string {
  const lines = [headings, ...rows.map((row) => row.map(textOf))];
  const widths = headings.map((_, at) => Math.max(...lines.map((line) => widthOf(line[at] ?? ""))));
  const total = widths.reduce((sum, width) => sum + width, 2 * (widths.length - 1));
  if (columns !== undefined && total > columns) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = Math.max(10, widths[widest]! - (total - columns));
  }
  return lines
    .map((line) =>
      line
        .map((cell, at) => {
          const cut = cutTo(cell, widths[at]!);
          return at === line.length - 1 ? cut : cut + " ".repeat(widths[at]! - widthOf(cut));
        })
        .join("  "),
    )
    .join("\n");
}

/** Returns names and values for people, a line each. */
export function fields(values: Readonly<Record<string, Cell>>): string {
  const width = Math.max(...Object.keys(values).map((name) => name.length));
  return Object.entries(values)
    .map(([name, value]) => `${name.padEnd(width)}  ${textOf(value)}`)
    .join("\n");
}
