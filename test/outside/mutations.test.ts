import { describe, expect, it } from "vitest";
import { mutate, mutationsOf, switched } from "../../scripts/mutations.ts";

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

  it("change a condition that is one comparison once, and not by its negation too", () => {
    expect(mutants("const a = b === c ? d : e;")).toEqual(["const a = b !== c ? d : e;"]);
    expect(mutants("if (!a) b();")).toEqual(["if (a) b();", "if (!a) ;"]);
    expect(mutants("if (a < b) c();")).toContain("if (!(a < b)) c();");
  });

  it("say which are of a number or a text only", () => {
    const literal = (text: string) => mutationsOf("source.ts", text).map(({ isLiteral }) => isLiteral);
    expect(literal('const a = b > 60 || c === "d";')).toEqual([false, true, false, false, true]);
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

describe("a source with a switch", () => {
  /** What its function `f` returns without a mutation, and then with one after another. */
  function results(text: string, ...values: unknown[]): unknown[] {
    const mutations = mutationsOf("source.ts", text);
    const { text: code, contained } = switched("source.ts", text, mutations, { idOf: (at) => at, mutates: "mutates" });
    expect([...contained]).toEqual([...mutations.keys()]);
    // What is run is this file's own text.
    const run = new Function("mutates", "values", `${code}\nreturn f(...values);`) as (
      mutates: (id: number) => boolean,
      values: unknown[],
    ) => unknown;
    return [-1, ...mutations.keys()].map((made) => run((id) => id === made, values));
  }

  it.each<[text: string, values: unknown[], expected: unknown[]]>([
    ["const f = (a, b) => a && b;", [1, 0], [0, 1]],
    ["const f = (a) => a.some((one) => one > 1);", [[1, 2]], [true, false, true, false]],
    ["const f = (a) => a?.some((one) => one).valueOf();", [undefined], [undefined, undefined]],
    ["function f(a) { if (a) return 7; return a; }", [1], [7, 1, 1, 8]],
    ["function f(a) { a.push(true); return a.length; }", [[]], [1, 1, 2]],
    [
      "const f = (a) => String.raw`WHERE b = 1 AND ${a < 2}`;",
      [2],
      [
        "WHERE b = 1 AND false",
        "WHERE b <> 1 AND false",
        "WHERE b = 1 OR false",
        "WHERE b = 1 AND true",
        "WHERE b = 1 AND true",
      ],
    ],
  ])("%s", (text, values, expected) => {
    expect(results(text, ...values)).toEqual(expected);
  });

  it("leaves out what is evaluated once, when the module is loaded", () => {
    const text = "const LIMIT = 5; const f = (a) => a < LIMIT;";
    const { contained } = switched("source.ts", text, mutationsOf("source.ts", text), {
      idOf: (at) => at,
      mutates: "m",
    });
    expect([...contained]).toEqual([1]);
  });
});
