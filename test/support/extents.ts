import type { TestOptions } from "vitest";

/**
 * The options of a test that takes long: `npm test` does not run it, `npm run test:slow` does, and so does `.ci/run`. What a quiet
 * machine needs more than a fifth of a second for has them, unless nothing faster shows the same. A whole file is tagged by its first
 * line: `// @module-tag slow`.
 */
export const SLOW: TestOptions = { tags: ["slow"] };

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
  { numRuns: many, options: SLOW },
];
