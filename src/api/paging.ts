import * as z from "zod/mini";
import { wholeNumber } from "../validation/whole-number.ts";

/** Offsets read every row they skip, so they end here; further back, page by the key that the answer's rows carry. */
const MAX_OFFSET = 10_000;

/** `limit` and `offset`, as every list takes them. */
export const paging = {
  limit: z._default(wholeNumber(1, 100), 50),
  offset: z._default(wholeNumber(0, MAX_OFFSET), 0),
};

/** Cuts off the one row too many that tells whether there are more. */
export function page<Row>(rows: readonly Row[], { limit }: { limit: number }): { rows: Row[]; hasMore: boolean } {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
