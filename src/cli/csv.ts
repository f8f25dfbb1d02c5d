/**
 * Reads CSV (RFC 4180): fields in quotes may have commas, line breaks, and quotes that are doubled.
 *
 * @returns the lines that are not empty, each as its fields.
 * @throws {SyntaxError} for a quote that is not closed, or that stands inside a field without quotes.
 */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let state: "start" | "plain" | "quoted" | "closed" = "start";
  let line = 1;
  const endField = (): void => {
    row.push(field);
    field = "";
    state = "start";
  };
  const endRow = (): void => {
    endField();
    if (row.some((one) => one !== "")) rows.push(row);
    row = [];
  };
  for (const char of text.replace(/^\ufeff/, "").replaceAll("\r\n", "\n")) {
    if (char === "\n") line += 1;
    if (state === "quoted") {
      if (char === '"') state = "closed";
      else field += char;
    } else if (char === '"' && state === "closed") {
      field += char;
      state = "quoted";
    } else if (char === '"' && state === "start") state = "quoted";
    else if (char === ",") endField();
    else if (char === "\n") endRow();
    else if (char === '"' || state === "closed") throw new SyntaxError(`line ${line} has a quote in a wrong place`);
    else {
      field += char;
      state = "plain";
    }
  }
  if (state === "quoted") throw new SyntaxError("a quote is not closed");
  if (field !== "" || row.length > 0) endRow();
  return rows;
}
