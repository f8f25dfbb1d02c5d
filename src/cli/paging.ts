import { readNumber } from "./arguments.ts";
import type { Call } from "./command.ts";

/** How many rows the user wants: `--limit`, or with `--all` every one. */
export function wantedRows({ values }: Call): number {
  const limit = readNumber(values.text("limit"), "limit", { min: 1, max: 100_000 });
  return values.has("all") ? Infinity : (limit ?? 50);
}

/**
 * Reads pages until there are enough rows or no more.
 *
 * @param read one page of at most `limit` rows from a cursor on.
 * @returns the rows, and whether there are more.
 */
export async function readRows<Row>(
  wanted: number,
  maxPage: number,
  read: (limit: number, cursor: string | undefined) => Promise<{ rows: readonly Row[]; next: string | null }>,
): Promise<{ rows: Row[]; hasMore: boolean }> {
  const rows: Row[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await read(Math.min(maxPage, wanted - rows.length), cursor);
    rows.push(...page.rows);
    if (page.next === null) return { rows, hasMore: false };
    if (rows.length >= wanted) return { rows: rows.slice(0, wanted), hasMore: true };
    cursor = page.next;
  }
}

/** Says that a list was cut off. */
export function noteMore({ isJson, note }: Call, hasMore: boolean): void {
  if (hasMore && !isJson) note("There are more: give --limit N, or --all.");
}
