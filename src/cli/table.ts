import { cutTo, visible, widthOf } from "./visible.ts";

/** What a cell shows; null and undefined show a dash. */
export type Cell = string | number | boolean | null | undefined;

const textOf = (cell: Cell): string => {
  if (cell === null || cell === undefined || cell === "") return "-";
  return visible(String(cell));
};

/** Columns of ids, which are of use only whole: a terminal that is too narrow for them breaks the lines. */
const WHOLE: ReadonlySet<string> = new Set(["ID", "KEY", "WEBHOOK", "AGENT"]);
/** A column is not cut below this. */
const MIN_COLUMNS = 10;

/**
 * Returns a table for people: a line of headings, then a line for each row, with two spaces between columns.
 *
 * @param columns how wide the terminal is, undefined for a file or a pipe. Where a line would be longer, the widest columns are cut.
 */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[], columns?: number): string {
  const lines = [headings, ...rows.map((row) => row.map(textOf))];
  const widths = headings.map((_, at) => Math.max(...lines.map((line) => widthOf(line[at] ?? ""))));
  let excess = widths.reduce((sum, width) => sum + width, 2 * (widths.length - 1)) - (columns ?? Infinity);
  for (; excess > 0; excess--) {
    const cuttable = widths.map((width, at) => (WHOLE.has(headings[at]!) ? 0 : width));
    const widest = Math.max(...cuttable);
    if (widest <= MIN_COLUMNS) break;
    widths[cuttable.indexOf(widest)]! -= 1;
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
