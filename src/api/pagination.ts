import * as z from "zod/mini";
import { fromCursor, toCursor, type PagePosition } from "../agents/page.ts";
import { badRequest } from "../http/errors.ts";
import { wholeNumber } from "../validation/whole-number.ts";
import { once } from "../validation/once.ts";

/** SQLite reads every row that an offset skips. Lists that can be longer than this have a cursor as well. */
const MAX_OFFSET = 10_000;

/** The query parameters `limit` and `offset`, as every list accepts them. */
const paging = once(() => ({
  limit: z._default(wholeNumber(1, 100), 50),
  offset: z._default(wholeNumber(0, MAX_OFFSET), 0),
}));

/** As {@link paging}, for lists that have a cursor as well: without a default, it can be seen whether `offset` is given. */
export const pagingByEither = once(() => ({
  limit: paging().limit,
  offset: z.optional(wholeNumber(0, MAX_OFFSET).check(z.describe("0 by default. Not together with `cursor`."))),
}));

/** The query parameters of lists that have no `offset`. */
export const cursorPaging = once(() => ({ limit: z._default(wholeNumber(1, 200), 50) }));

/** The property of a response that the next page's `cursor` is. */
export const nextCursor = once(() =>
  z.nullable(z.string()).check(z.describe("The `cursor` of the next page; null on the last one.")),
);

/**
 * The query parameter `cursor` of a list. A cursor contains only a position, so one that was made up, or is another caller's, shows
 * nothing that the list would not show.
 *
 * @param isCursor whether a text has the form of this list's cursors.
 */
export const cursorOf = (isCursor: (text: string) => boolean) =>
  z.optional(
    z
      .string()
      .check(
        z.refine(isCursor, { error: "must be a next_cursor of this list" }),
        z.describe("The `next_cursor` of the previous page."),
      ),
  );

/**
 * Refuses a page that is given in two ways: by `offset`, and by `cursor` or the like.
 *
 * @throws {ApiError} 400
 */
export function onePosition(query: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const given = names.filter((name) => query[name] !== undefined);
  if (given.length < 2) return;
  const message = `must not be given together with ${given[0]}`;
  throw badRequest(`The query is not valid. ${given[1]} ${message}.`, [{ field: given[1]!, message }]);
}

/** The Pagination object of the wire: exactly these keys. */
export const pagination = once(() =>
  z.object({
    total: z.int(),
    limit: z.int(),
    offset: z.int(),
    has_more: z.boolean(),
  }),
);

/**
 * Takes a page from the rows that a store has read.
 *
 * @param rows up to `limit` + 1 of them: the last one only shows that there is another page.
 */
export function page<Row>(rows: readonly Row[], { limit }: { limit: number }): { rows: Row[]; hasMore: boolean } {
  return { rows: rows.slice(0, limit), hasMore: rows.length > limit };
}

/** The query of a list of an agent's things, the newest first. */
export const agentListQuery = once(() =>
  z.object({
    ...cursorPaging(),
    cursor: cursorOf((text) => fromCursor(text) !== undefined),
  }),
);

/** Takes a page from the rows that a store has read, and the cursor of the next one. */
export function cursorPage<Row extends PagePosition>(
  rows: readonly Row[],
  query: { limit: number },
): { rows: Row[]; next_cursor: string | null } {
  const { rows: shown, hasMore } = page(rows, query);
  const last = shown.at(-1);
  return { rows: shown, next_cursor: hasMore && last ? toCursor(last) : null };
}
