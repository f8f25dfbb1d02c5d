import * as z from "zod/mini";

/** Offsets read every row they skip, so they end here; further back, page by the key that the answer's rows carry. */
const MOST_OFFSET = 10_000;

const whole = (minimum: number, maximum: number, fallback: number) =>
  z._default(z.coerce.number().check(z.int(), z.minimum(minimum), z.maximum(maximum)), fallback);

/** `limit` and `offset`, as every list takes them. */
export const paging = { limit: whole(1, 100, 50), offset: whole(0, MOST_OFFSET, 0) };

/** The Pagination object of the wire: exactly these keys. */
export const pagination = z.object({
  total: z.int(),
  limit: z.int(),
  offset: z.int(),
  has_more: z.boolean(),
});

/** Cuts off the one row too many that tells whether there are more. */
export function page<Row>(rows: readonly Row[], { limit }: { limit: number }): { rows: Row[]; hasMore: boolean } {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}
