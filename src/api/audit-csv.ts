/** The columns of an export as CSV, in this order: the record's, with those of its actor beside each other. */
export const CSV_COLUMNS = [
  "id",
  "at",
  "action",
  "outcome",
  "agent_id",
  "actor_type",
  "actor_id",
  "actor_name",
  "act",
  "ip_address",
  "request_id",
  "key_id",
  "session_id",
  "service",
  "method",
  "path",
  "rule",
  "permission",
  "status",
  "upstream_status",
  "duration_ms",
  "bytes_in",
  "bytes_out",
  "count",
  "before",
  "after",
  "message",
] as const;

export type CsvRow = Readonly<Record<(typeof CSV_COLUMNS)[number], string | number | null>>;

/**
 * What makes a spreadsheet read a text as a formula (https://owasp.org/www-community/attacks/CSV_Injection), full-width forms included: at
 * the beginning of a cell, and after what some spreadsheets take for the end of one, also behind quotes and spaces.
 */
const FORMULA = /((?:^|[;,\t\r\n])["\s]*)([=+\-@\uFF1D\uFF0B\uFF0D\uFF20])/g;
/** A cell that begins with these is neutralised too: some spreadsheets drop them and read what follows. */
const DROPPED = /^[\t\r\n]/;

/** A cell of CSV (RFC 4180), quoted. A text that a spreadsheet would calculate gets a `'`, after which it is shown as text. */
function cell(value: string | number | null): string {
  if (typeof value === "number") return String(value);
  const text = (value ?? "").replace(DROPPED, "'$&").replace(FORMULA, "$1'$2");
  return text === "" ? "" : `"${text.replaceAll('"', '""')}"`;
}

const line = (cells: readonly string[]): string => `${cells.join(",")}\r\n`;

/** The row that names the columns. */
export const csvHeader = (): string => line([...CSV_COLUMNS]);

/** A row of CSV. */
export const csvRow = (row: CsvRow): string => line(CSV_COLUMNS.map((column) => cell(row[column])));

/** The last row: a text in the first cell, and nothing in the others. */
export const csvEnd = (text: string): string => line(CSV_COLUMNS.map((_, index) => (index === 0 ? cell(text) : "")));
