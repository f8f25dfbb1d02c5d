import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { citations, missingTests } from "./support/citations.ts";
import { readPage } from "./support/markdown.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const page = readPage("docs/security.md");

/** How many requirements each section of ASVS 5.0.0 has, of the chapters that the page walks. */
const ASVS: readonly (readonly [chapter: number, perSection: readonly number[]])[] = [
  [4, [5, 5, 2, 4]],
  [7, [3, 4, 2, 5, 3, 2]],
  [9, [3, 4]],
  [10, [2, 3, 5, 16, 5, 2, 3]],
  [13, [4, 6, 4, 7]],
  [16, [1, 5, 4, 3, 4]],
];
const sections = (chapter: number | string, last: number) =>
  Array.from({ length: last }, (_, n) => `${chapter}.${n + 1}`);
const RFC_8725 = sections(3, 12);
const RFC_9700 = ["2.1", "2.2.1", "2.2.2", "2.3", "2.4", "2.5", "2.6", ...sections(4, 17)];

/** The lines of the table below a heading: what is walked, the verdict, and the rest. */
function rows(beginning: string): { id: string; verdict: string; rest: string }[] {
  const heading = page.headings.find((one) => one.startsWith(beginning));
  return page.section(heading ?? beginning).rows.flatMap(([requirement = "", verdict = "", ...rest]) => {
    const [id] = /^\d+(?:\.\d+)+/.exec(requirement) ?? [];
    return id === undefined ? [] : [{ id, verdict, rest: rest.join(" | ") }];
  });
}

const tables = {
  "OWASP ASVS": rows("OWASP ASVS"),
  "RFC 8725": rows("RFC 8725"),
  "RFC 9700": rows("RFC 9700"),
};
describe("docs/security.md", () => {
  it("names tests that exist", () => {
    const cited = citations(read("docs/security.md"));
    expect(cited.length).toBeGreaterThan(100);
    expect(missingTests(cited)).toEqual([]);
  });

  it("walks every requirement of its chapters and sections, once, in order", () => {
    const asvs = ASVS.flatMap(([chapter, perSection]) =>
      perSection.flatMap((count, section) => sections(`${chapter}.${section + 1}`, count)),
    );
    expect(tables["OWASP ASVS"].map(({ id }) => id)).toEqual(asvs);
    expect(tables["RFC 8725"].map(({ id }) => id)).toEqual(RFC_8725);
    expect(tables["RFC 9700"].map(({ id }) => id)).toEqual(RFC_9700);
  });

  it.each(Object.entries(tables))("shows what it says yes to, and says why otherwise: %s", (_, lines) => {
    for (const { id, verdict, rest } of lines) {
      expect({ id, verdict: ["yes", "no", "n/a", "operator", "platform"].includes(verdict) }).toEqual({
        id,
        verdict: true,
      });
      const documents = [...rest.matchAll(/(docs\/[a-z]+\.md), "([^"]+)"/g)];
      for (const [, file, heading] of documents) expect(readPage(file!).headings).toContain(heading);
      const named = citations(rest).some(({ names }) => names.length > 0);
      expect({ id, shown: verdict !== "yes" || named || documents.length > 0 }).toEqual({ id, shown: true });
      expect(rest.length).toBeGreaterThan(5);
    }
  });
});
