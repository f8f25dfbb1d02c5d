import * as z from "zod/mini";

/** The Pagination object of the wire: exactly these keys. */
export const pagination = z.object({
  total: z.int(),
  limit: z.int(),
  offset: z.int(),
  has_more: z.boolean(),
});
