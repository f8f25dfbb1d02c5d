import * as z from "zod/mini";
import { wholeNumber } from "../validation/whole-number.ts";

/** SQLite reads every row that an offset skips. Lists that can be longer than this have a cursor as well. */
export const MAX_OFFSET = 10_000;

/** The query parameters `limit` and `offset`, as every list accepts them. */
export const paging = {
  limit: z._default(wholeNumber(1, 100), 50),
  offset: z._default(wholeNumber(0, MAX_OFFSET), 0),
};

/** The Pagination object of the wire: exactly these keys. */
export const pagination = z.object({
  total: z.int(),
  limit: z.int(),
  offset: z.int(),
  has_more: z.boolean(),
});

/**
 * Takes a page from the rows that a store has read.
 *
 * @param rows up to `limit` + 1 of them: the last one only shows that there is another page.
 */
export function page<Row>(rows: readonly Row[], { limit }: { limit: number }): { rows: Row[]; hasMore: boolean } {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
