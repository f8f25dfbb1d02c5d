import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CSV_COLUMNS, csvEnd, csvHeader, csvRow, type CsvRow } from "../../src/api/audit-csv.ts";
import { SLOW } from "../support/extents.ts";

const row = (values: Partial<CsvRow>): CsvRow =>
  ({ ...Object.fromEntries(CSV_COLUMNS.map((name) => [name, null])), ...values }) as CsvRow;

/** Reads CSV as RFC 4180 says, with any separator. */
function parse(text: string, separator = ","): string[][] {
  const rows: string[][] = [[]];
  let [value, quoted, at] = ["", false, 0];
  for (; at < text.length; at++) {
    const character = text[at]!;
    if (quoted) {
      if (character !== '"') value += character;
      else if (text[at + 1] === '"') value += text[++at]!;
      else quoted = false;
    } else if (character === '"' && value === "") quoted = true;
    else if (character === separator || character === "\n") {
      rows.at(-1)!.push(value.replace(/\r$/, ""));
      value = "";
      if (character === "\n") rows.push([]);
    } else value += character;
  }
  return rows.slice(0, -1);
}

const FORMULAS = [
  "=1+1",
  "+1",
  "-1",
  "@SUM(A1)",
  "\t=1",
  "\r=1",
  "\n=1",
  "＝1",
  "＋1",
  "－1",
  "＠SUM(A1)",
  '=HYPERLINK("https://evil.example","x")',
  "/a;=cmd|' /C calc'!A0",
  "a,\t=1",
  '",=1',
  '"\r\n=1',
];

describe("CSV", () => {
  it("has the columns of the record first, and one row for each record whatever is in it", () => {
    const [names, cells, ...more] = parse(
      csvHeader() + csvRow(row({ id: "aud_1", status: 200, message: 'a "b",\r\nc' })),
    );
    expect(more).toEqual([]);
    expect(names).toEqual([...CSV_COLUMNS]);
    expect(cells).toHaveLength(CSV_COLUMNS.length);
    expect(cells![0]).toBe("aud_1");
    expect(cells![CSV_COLUMNS.indexOf("status")]).toBe("200");
    expect(cells!.at(-1)).toBe('a "b",\r\nc');
  });

  it.each(FORMULAS)("is no formula in any spreadsheet: %j", (text) => {
    for (const separator of [",", ";", "\t"]) {
      for (const line of parse(csvRow(row({ path: text, message: text })), separator)) {
        for (const one of line) expect(one).not.toMatch(/^[\t\r\n]*[=+\-@＝＋－＠]/);
      }
    }
  });

  it("keeps every text readable, and is never a formula, however it is split", SLOW, () => {
    const hostile = fc.string({
      unit: fc.constantFrom("=", "+", "-", "@", "＝", "\t", "\r", "\n", ";", ",", '"', "'", "a", "1", " "),
    });
    fc.assert(
      fc.property(hostile, (text) => {
        const line = csvRow(row({ message: text }));
        const [cells] = parse(line);
        expect(cells).toHaveLength(CSV_COLUMNS.length);
        expect(cells!.at(-1)!.replaceAll("'", "")).toBe(text.replaceAll("'", ""));
        for (const separator of [",", ";", "\t"]) {
          for (const one of parse(line, separator).flat()) expect(one).not.toMatch(/^[=+\-@＝＋－＠]/);
        }
      }),
      { numRuns: 2000, seed: 7 },
    );
  });

  it("ends with a row that says what it is", () => {
    expect(parse(csvEnd("complete"))).toEqual([
      ["complete", ...Array.from({ length: CSV_COLUMNS.length - 1 }, () => "")],
    ]);
  });
});
