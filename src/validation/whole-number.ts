import * as z from "zod/mini";

/**
 * Schema of a whole number that arrives as text, in a query parameter or a setting. Accepts decimal digits only, because `Number`,
 * which `z.coerce` uses, also accepts `0x10`, `1e3` and spaces.
 */
export const wholeNumber = (minimum: number, maximum: number) =>
  z.pipe(
    z.transform((value: unknown) => (typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : value)),
    z.number().check(z.int(), z.minimum(minimum), z.maximum(maximum)),
  );
