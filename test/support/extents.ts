import { it, type TestOptions } from "vitest";

/**
 * The options of a test that takes long: `npm test` does not run it, `npm run test:slow` does, and so does `.ci/run`. What a quiet
 * machine needs more than a tenth of a second for has them, unless nothing faster shows the same. A whole file is tagged by its first
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

/**
 * `it.each` for a table whose cases are much alike: `npm test` runs `count` of them, spread from the first to the last, and
 * `npm run test:slow` the others.
 *
 * @example
 * few(2).each(["", "x", "é"])("refuses %j", async (name) => …);
 */
export const few = (count: number): Pick<typeof it, "each"> => ({
  each: ((cases: readonly unknown[]) =>
    (name: string, ...rest: [run: () => void] | [options: TestOptions, run: () => void]) => {
      const [options, run] = rest.length === 2 ? rest : [{}, rest[0]];
      const step = (cases.length - 1) / Math.max(count - 1, 1);
      const chosen = new Set(Array.from({ length: count }, (_, n) => Math.round(n * step)));
      it.each(cases.filter((_, index) => chosen.has(index)))(name, options, run);
      it.each(cases.filter((_, index) => !chosen.has(index)))(name, { ...options, ...SLOW }, run);
    }) as typeof it.each,
});
