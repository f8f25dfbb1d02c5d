import * as z from "zod/mini";

/**
 * A whole number that comes as text: a query parameter, a setting. Decimal digits only: `Number` would also take `0x10`, `1e3`
 * and spaces. (`z.coerce` would bring dates and big integers along.)
 */
export const wholeNumber = (minimum: number, maximum: number) =>
  z.pipe(
    z.transform((value: unknown) => (typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : value)),
    z.number().check(z.int(), z.minimum(minimum), z.maximum(maximum)),
  );
