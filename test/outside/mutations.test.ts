import { describe, expect, it } from "vitest";
import { mutate, mutationsOf } from "../../scripts/mutations.ts";

/** A source after each of its mutations. */
const mutants = (text: string) => mutationsOf("source.ts", text).map((mutation) => mutate(text, mutation));

describe("the mutations of a source", () => {
  it.each([
    ["const a = b && c;", ["const a = b || c;"]],
    ["const a = b <= c;", ["const a = b < c;"]],
    ["const a = b === c;", ["const a = b !== c;"]],
    ["const a = b.some(c);", ["const a = b.every(c);"]],
    ["const a = !b;", ["const a = b;"]],
    ["const a = 60;", ["const a = 61;"]],
    ["const a = true;", ["const a = false;"]],
    ['const a = "revoked";', ['const a = "mutated";']],
    ["const a = b ? c : d;", ["const a = !(b) ? c : d;"]],
    ["a();", [";"]],
  ])("%s", (text, expected) => {
    expect(mutants(text)).toEqual(expected);
  });

  it("remove an early return, and negate its condition", () => {
    expect(mutants("function f() { if (a) return b; return c; }")).toEqual([
      "function f() { ; return c; }",
      "function f() { if (!(a)) return b; return c; }",
    ]);
  });

  it("change what SQL compares, and not what it assigns", () => {
    const text = "const a = `UPDATE t SET b = ?1 WHERE c = ?2 AND d IS NULL`;";
    expect(mutants(text)).toEqual([
      text.replace("c = ?2", "c <> ?2"),
      text.replace("AND", "OR"),
      text.replace("IS NULL", "IS NOT NULL"),
    ]);
  });

  it("leave types, imports, errors' texts and sentences as they are", () => {
    const text = `import a from "a";
type B = "b" | true;
const c = "a sentence of words";
const d = a as "e";
const f = new Error("text");
const g = c.toString;`;
    expect(mutants(text)).toEqual([]);
  });
});
