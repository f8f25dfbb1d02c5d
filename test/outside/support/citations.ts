import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../../..");

/** A test that a page names: its file, and the names of tests in it. */
export interface Citation {
  readonly file: string;
  readonly names: readonly string[];
}

/** The tests that a text names, as `test/file.ts` "a name". */
export const citations = (text: string): Citation[] =>
  [...text.replaceAll(/\s*\n\s*/g, " ").matchAll(/`(test\/[^`]+)`((?:,? "[^"]+")*)/g)].map(([, file, names]) => ({
    file: file!,
    names: [...names!.matchAll(/"([^"]+)"/g)].map(([, name]) => name!),
  }));

/** Those of them that do not exist. */
export const missingTests = (cited: readonly Citation[]): string[] =>
  cited.flatMap(({ file, names }) => {
    if (!existsSync(join(ROOT, file))) return [file];
    const source = readFileSync(join(ROOT, file), "utf8");
    return names.filter((name) => !source.includes(name)).map((name) => `${file}: ${name}`);
  });
