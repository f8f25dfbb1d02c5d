import * as z from "zod/mini";

/** A whole number that comes as text: a query parameter, a setting. (`z.coerce` would bring dates and big integers along.) */
export const wholeNumber = (minimum: number, maximum: number) =>
  z.pipe(
    z.transform((value: unknown) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value)),
    z.number().check(z.int(), z.minimum(minimum), z.maximum(maximum)),
  );
