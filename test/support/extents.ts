import type { TestOptions } from "vitest";

/** How many inputs a property is tried with, and the options of the test that does it. */
interface Extent {
  readonly numRuns: number;
  readonly options: TestOptions;
}

/**
 * The two extents of a test that tries random inputs: few in `npm test`, many in `npm run test:slow`.
 *
 * @example
 * for (const { numRuns, options } of extents(20, 500)) it(`holds for ${numRuns} inputs`, options, () => …);
 */
export const extents = (few: number, many: number): readonly Extent[] => [
  { numRuns: few, options: {} },
  { numRuns: many, options: { tags: ["slow"] } },
];
