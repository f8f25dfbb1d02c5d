import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  matcherKey,
  matchersMeet,
  matches,
  overlap,
  parseRule,
  type Matcher,
  type Rule,
} from "../../src/policy/rule.ts";
import { allowsEncodedSlashes, compileTable, findRule, overlaps } from "../../src/policy/rule-table.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { loadServices } from "../../src/policy/services.ts";
import { SLOW, extents } from "../support/extents.ts";

const rule = (path: string): Rule => parseRule(`GET ${path} things:read`, "own")[0]!;
const segment = (text: string): Matcher => rule(`/${text}`).segments[0]!;

describe("a parameter with plain text around it", () => {
  it.each([
    ["{model}:generateContent", ["gemini:generateContent", "a:b:generateContent"]],
    ["{name}.json", ["a.json", ".json.json"]],
    ["Customers({id})", ["Customers(1)", "Customers('a')"]],
    ["Customers({id:int})", ["Customers(1)"]],
    ["v{major:int}", ["v2", "v10"]],
    ["report.{format:csv|pdf}", ["report.csv", "report.pdf"]],
  ])("%s matches %j", (pattern, texts) => {
    for (const text of texts) expect(matches(segment(pattern), text), text).toBe(true);
  });

  it.each([
    [
      "{model}:generateContent",
      ["gemini", ":generateContent", "gemini:generateContentStream", "gemini:GenerateContent"],
    ],
    ["{name}.json", [".json", "a.JSON", "a.json.gz", "a/b.json"]],
    ["Customers({id})", ["Customers", "Customers()", "customers(1)", "Customers(1)x", "Customers(a/b)"]],
    ["Customers({id:int})", ["Customers(a)", "Customers(1)(2)", "Customers(1"]],
    ["aba{x}aba", ["aba", "ababa", "abaaba"]],
    ["report.{format:csv|pdf}", ["report.", "report.csvpdf", "report.doc"]],
  ])("%s does not match %j", (pattern, texts) => {
    for (const text of texts) expect(matches(segment(pattern), text), text).toBe(false);
  });
});

describe("a parameter that leaves words out", () => {
  it.each([
    ["{id!search|count}", "7", true],
    ["{id!search|count}", "searches", true],
    ["{id!search|count}", "search", false],
    ["{id!search|count}", "Count", false],
    ["{id!search|count}", "search.json", false],
    ["{id!search|count}", "a/b", false],
    ["{id!$count}", "$count", false],
    ["{id!openapi.json}", "openapi.json", false],
  ])("%s: %s matches is %s", (pattern, text, expected) => {
    expect(matches(segment(pattern), text)).toBe(expected);
  });

  it("does not overlap with these words, and does with all else", () => {
    expect(matchersMeet(segment("{id!a|b}"), segment("a"))).toBe(false);
    expect(matchersMeet(segment("{x:a|b}"), segment("{id!a|b}"))).toBe(false);
    expect(matchersMeet(segment("{id!a}"), segment("{x:a|b}"))).toBe(true);
    expect(matchersMeet(segment("{id!a}"), segment("{x}"))).toBe(true);
    expect(matcherKey(segment("{id!a}"))).not.toBe(matcherKey(segment("{id}")));
  });
});

describe("two rules overlap", () => {
  it.each([
    ["/a/{path...}", "/a/b/c", true],
    ["/a/{path...}", "/b/c", false],
    ["/a/{x:b|c}", "/a/{y:c|d}", true],
    ["/a/{x:b|c}", "/a/{y:d|e}", false],
    ["/a/{x:b|c}", "/a/{y:int}", false],
    ["/v{n:int}", "/{x:version}", false],
    ["/v{n}", "/{x:version}", true],
  ])("%s and %s: %s", (one, other, expected) => {
    expect(overlap(rule(one), rule(other))).toBe(expected);
    expect(overlap(rule(other), rule(one))).toBe(expected);
  });

  it("and the rest of a path is any text", () => {
    for (const text of ["", "a", "a/b"]) expect(matches(segment("{path...}"), text)).toBe(true);
  });
});

describe("a record's id of Salesforce", () => {
  it.each(["001000000000001", "001000000000001AAA", "00Q5e00000AbCdE", "a0B5e00000AbCdEAAX", "7015e000000ABCD"])(
    "may be %s",
    (text) => expect(matches(segment("{id:record}"), text)).toBe(true),
  );
  it.each([
    "approvalLayouts",
    "compactLayouts",
    "namedLayoutsForX",
    "quickActionsAll",
    "listviewsOfAll1",
    "00100000000000",
    "0010000000000011",
  ])("is not %s", (text) => expect(matches(segment("{id:record}"), text)).toBe(false));
});

/** What a segment matches, decided character by character and by no code of the rules' own. */
function slowMatch(pattern: string, text: string): boolean {
  const [, before = "", parameter, after = ""] = /^([^{]*)\{([^}]*)\}(.*)$/.exec(pattern) ?? [];
  if (parameter === undefined) return pattern === text;
  const [, type] = parameter.split(":");
  if (type?.includes("|")) return type.split("|").some((one) => before + one + after === text);
  for (let from = 0; from <= text.length; from++) {
    for (let to = from + 1; to <= text.length; to++) {
      const inner = text.slice(from, to);
      if (text.slice(0, from) === before && text.slice(to) === after && slowInner(type, inner)) return true;
    }
  }
  return false;
}

function slowInner(type: string | undefined, inner: string): boolean {
  const characters = [...inner];
  const isDigit = (one: string | undefined) => one !== undefined && "0123456789".includes(one);
  const isLetter = (one: string | undefined) =>
    one !== undefined && "abcdefghijklmnopqrstuvwxyz".includes(one.toLowerCase());
  switch (type) {
    case "int":
      return characters.every(isDigit);
    case "word":
      return characters.every((one) => isDigit(one) || isLetter(one) || "_-".includes(one));
    case "name":
      return characters.every((one) => isDigit(one) || isLetter(one) || "_-.".includes(one));
    case "version":
      return /^v[0-9]+\.[0-9]$/.test(inner) && inner.length <= 6;
    case "text":
      return true;
    default:
      return !characters.includes("/");
  }
}

const PATTERNS = [
  "a",
  "b",
  "a:b",
  "a.b",
  "v1.0",
  "v1",
  "1",
  "{x}",
  "{x:text}",
  "{x:int}",
  "{x:word}",
  "{x:name}",
  "{x:version}",
];
const AFFIXED = [
  "{x}:b",
  "a{x}",
  "a({x})",
  "{x:int}.b",
  "{x:word}.b",
  "{x:name}:b",
  "v{x:int}",
  "v{x:int}.0",
  "{x:a|b}.b",
  "{x:1|a}",
  "b{x:word}b",
];
const pattern = fc.constantFrom(...PATTERNS, ...AFFIXED);
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."ab1v0.:()_-/"), minLength: 1, maxLength: 7 }),
  fc.constantFrom("a", "b", "1", "a.b", "v1.0", "v1", "a:b", "a(b)", "1.b", "v10.0", "bab", "a/b"),
);

describe("rules, compared with a slow reading of them", () => {
  for (const { numRuns, options } of extents(500, 10_000)) {
    it(`match exactly the same texts: ${numRuns}`, options, () => matchTexts(numRuns));
    it(`are found to overlap whenever a text matches both: ${numRuns}`, options, () => meet(numRuns));
    it(
      `overlap in the same pairs, whether each is compared with each or looked up: ${numRuns / 10} lists`,
      options,
      () => pair(numRuns / 10),
    );
  }

  function matchTexts(numRuns: number): void {
    fc.assert(
      fc.property(pattern, text, (one, sent) => {
        expect(matches(segment(one), sent)).toBe(slowMatch(one, sent));
      }),
      { numRuns },
    );
  }

  function meet(numRuns: number): void {
    const property = fc.property(pattern, pattern, text, (one, other, sent) => {
      if (slowMatch(one, sent) && slowMatch(other, sent)) expect(matchersMeet(segment(one), segment(other))).toBe(true);
    });
    fc.assert(property, { numRuns });
  }

  it("are found to overlap only if a text matches both", SLOW, () => {
    // Every text of up to four of these characters: enough to show each meeting of these patterns.
    const texts = ["v1.0", "a(a)", "1.b:b", "a.b:b", "v1.0:b"];
    const grow = (begun: string, left: number): void => {
      for (const next of "ab1v.:") {
        texts.push(begun + next);
        if (left > 1) grow(begun + next, left - 1);
      }
    };
    grow("", 4);
    const all = [...PATTERNS, ...AFFIXED];
    const matched = new Map(all.map((one) => [one, new Set(texts.filter((sent) => matches(segment(one), sent)))]));
    const claimed: string[] = [];
    for (const one of all) {
      for (const other of all) {
        const shown = [...matched.get(one)!].some((sent) => matched.get(other)!.has(sent));
        if (matchersMeet(segment(one), segment(other)) !== shown) claimed.push(`${one} and ${other}`);
      }
    }
    expect(claimed).toEqual([]);
  });

  function pair(numRuns: number): void {
    const path = fc
      .tuple(fc.array(pattern, { maxLength: 3 }), fc.constantFrom("", "/{rest...}", "/"))
      .filter(([segments, end]) => end !== "/" || segments.length > 0)
      .map(([segments, end]) => `${segments.map((one) => `/${one}`).join("")}${end}` || "/");
    const property = fc.property(fc.array(path, { maxLength: 12 }), (paths) => {
      const rules = paths.map(rule);
      const slow = rules.flatMap((one, i) =>
        rules
          .slice(0, i)
          .filter((earlier) => overlap(earlier, one))
          .map((earlier) => [earlier, one]),
      );
      const inOrder = (pairs: Rule[][]) => pairs.map((pair) => pair.map((one) => rules.indexOf(one)).join()).toSorted();
      expect(inOrder(overlaps(rules))).toEqual(inOrder(slow));
    });
    fc.assert(property, { numRuns });
  }

  it("have one key for what is defined alike, and no other", () => {
    const all = [...PATTERNS, ...AFFIXED];
    const keys = new Set(all.map((one) => matcherKey(segment(one))));
    expect(keys.size).toBe(all.length);
  });
});

describe("a table of rules", () => {
  const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);
  const zendesk = services.get("zendesk")!.definition;
  const own = (rules: string[], more: object = {}) =>
    compileTable({ ...zendesk, rules, embeds: {}, trailingSlash: undefined, ...more } as never, BUILT_IN_CATALOGUE);

  it.each([
    ["GET /x", "three parts"],
    ["GET /x tickets now", "three parts"],
    ["", "three parts"],
    ["PURGE /x tickets", "PURGE is not a method"],
    ["GET,PURGE /x tickets", "PURGE is not a method"],
    ["GET /x nobody", "the catalogue has no zendesk:nobody:read"],
    ["GET /x tickets:fly", "the catalogue has no zendesk:tickets:fly"],
    ["GET /x tickets:read:write", "tickets:read:write is not a permission of zendesk"],
    ["GET /x tickets+Users", "Users is not a permission of zendesk"],
    ["GET /x tickets:READ", "tickets:READ is not a permission of zendesk"],
    ["GET x/y tickets", "the path x/y does not begin with /"],
    ["GET /{a}-{b} tickets", "more than one parameter"],
    ["GET /a//b tickets", 'the segment "" is neither'],
    ["GET /a%2Fb tickets", 'the segment "a%2Fb" is neither'],
    ["GET /a. tickets", 'the segment "a." is neither'],
    ["GET /{a}. tickets", 'the segment "{a}." is neither'],
    ["GET /../x tickets", 'the segment ".." is neither'],
    ["GET /{1a} tickets", 'the segment "{1a}" has a parameter without a name'],
    ["GET /{a...}/b tickets", "{a...} may only stand at the end"],
    ["GET /x{a...} tickets", "x{a...} may only stand at the end"],
    ["GET /x{a!b} tickets", "words are left out of whole segments only"],
  ])("has no line %j", (line, said) => {
    expect(() => own([line])).toThrow(said);
  });

  it("reads a HEAD as a GET, once", () => {
    expect(parseRule("GET /x things", "own").map(({ methods }) => methods)).toEqual([["GET", "HEAD"]]);
    expect(parseRule("GET,HEAD /x things", "own").map(({ methods }) => methods)).toEqual([["GET", "HEAD"]]);
    expect(parseRule("PUT /x things", "own").map(({ methods }) => methods)).toEqual([["PUT"]]);
  });

  it("embeds nothing that the catalogue does not have, and nothing by the parameter of its credential", () => {
    const embeds = { include: { users: "users", groups: "" } };
    expect([...own(["GET /x tickets"], { embeds }).embeds.keys()]).toEqual(["include"]);
    expect(() => own(["GET /x tickets"], { embeds: { include: { users: "nobody" } } })).toThrow(
      "the catalogue has no zendesk:nobody:read",
    );
    const credential = { scheme: "query", name: "Include" };
    expect([...own(["GET /x tickets"], { embeds, credential }).embeds.keys()]).toEqual([]);
  });

  it("takes an encoded slash only if no reading of the path needs more", () => {
    const allows = (more: string[]) => {
      const table = own(["GET /tags/{name:text} tickets", ...more]);
      const texts = ["tags", "a/b"];
      return allowsEncodedSlashes(table, findRule(table, "GET", texts, false), "GET", texts);
    };
    expect(allows([])).toBe(true);
    expect(allows(["GET /tags/{name}/b tickets"])).toBe(true);
    expect(allows(["GET /tags/{name}/b users"])).toBe(false);
    expect(allows(["GET /tags/{name}/b tickets+users"])).toBe(false);
    expect(allows(["GET /tags/{name}/b tickets", "GET /tags/{name}/b/ users"])).toBe(false);
    expect(allows(["GET /tags/{name}/{x}/ users"])).toBe(false);
  });
});
