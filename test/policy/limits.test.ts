import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Scalar, Where } from "../../src/permissions/grant.ts";
import {
  compileLimits,
  limitedRequest,
  parseWhere,
  pathParameters,
  violations,
  type LimitedBody,
} from "../../src/policy/limits.ts";
import { parseRule } from "../../src/policy/rule.ts";
import { extents } from "../support/extents.ts";

const LINE = "POST /repos/{owner}/{repo}/issues issues";
const BARE = "POST /repos/{owner}/{repo}/transfer issues";
const rules = [LINE, BARE].flatMap((line) => parseRule(line, "github"));
const [rule, bare] = rules as [(typeof rules)[0], (typeof rules)[0]];
const fields = compileLimits(
  {
    "path.owner": { alone: [LINE], ignoresCase: true },
    "path.repo": { also: { [LINE]: ["body.name"] }, ignoresCase: true },
    "query.state": { alone: [LINE], closedList: ["open", "closed", "all"] },
    "body.branch": { alone: [LINE], isPath: true },
    "body.amount": { alone: [LINE] },
    "body.to.id": { alone: [LINE] },
  },
  rules,
);
const path = new Map([
  ["owner", "Octo"],
  ["repo", "hello"],
]);
const json = (text: string): LimitedBody => ({ kind: "json", text });
const form = (...pairs: [string, string][]): LimitedBody => ({ kind: "form", fields: pairs });
const part = (text: string, filename?: string): LimitedBody => ({
  kind: "multipart",
  parts: [
    {
      name: "amount",
      filename,
      contentType: undefined,
      content: new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>,
    },
  ],
});
const NONE: LimitedBody = { kind: "none" };
const allows = (where: Where, query = "", body: LimitedBody = NONE) =>
  violations(where, fields, limitedRequest({ rule, path, query, body })).length === 0;

describe("path parameters", () => {
  it("are read by name: whole segments, parts of them, choices and tails", () => {
    const [rule] = parseRule("GET /a/{one}/v{two:int}.json/{three:x|y}/{rest...} things", "lab");
    expect([...pathParameters(rule!, ["a", "b/c", "v12.json", "y", "d", "e f"])]).toEqual([
      ["one", "b/c"],
      ["two", "12"],
      ["three", "y"],
      ["rest", "d/e f"],
    ]);
  });

  it.each([
    ["path.id", "GET /a/{id}/b/{id} things", "twice"],
    ["path.id", "GET /a/{id}/b/{Id} things", "twice"],
    ["path.id", "GET /a/{id_x} things", "no parameter id"],
    ["path.id", "GET /a/id things", "no parameter id"],
    ["query.id", "GET /a/{id} things", "of this name as well"],
    ["body.id.x", "POST /a/{ID} things", "of this name as well"],
    ["body.id", "POST /b things", "is not a rule"],
  ])("of a limit stand once in the path: %s in %s", (field, line, fault) => {
    const lines = parseRule(line === "POST /b things" ? "POST /c things" : line, "lab");
    expect(() => compileLimits({ [field]: { alone: [line] } }, lines)).toThrow(fault);
  });
});

describe("limits", () => {
  it("compare as the vendor does, and name what is wrong", () => {
    expect(allows({ "path.owner": { eq: "OCTO" } })).toBe(true);
    expect(
      violations({ "path.owner": { eq: "other" } }, fields, limitedRequest({ rule, path, query: "", body: NONE })),
    ).toEqual([{ because: "differs", field: "path.owner", constraint: { eq: "other" }, actual: "Octo" }]);
    // The Kelvin sign is no k, and a full-width letter none of ASCII.
    const kelvin = new Map([["owner", "\u212a"]]);
    const of = (eq: string) =>
      violations({ "path.owner": { eq } }, fields, limitedRequest({ rule, path: kelvin, query: "", body: NONE }));
    expect(of("k")).toHaveLength(1);
    expect(of("\u212a")).toHaveLength(0);
    for (const [owner, eq, expected] of [
      ["AZ", "az", true],
      ["@[", "`{", false],
      ["octo", "octopus", false],
      ["octopus", "octo", false],
    ] as const) {
      const request = limitedRequest({ rule, path: new Map([["owner", owner]]), query: "", body: NONE });
      expect([owner, eq, violations({ "path.owner": { eq } }, fields, request).length === 0]).toEqual([
        owner,
        eq,
        expected,
      ]);
    }
  });

  it("name what a request has in the place of what they allow", () => {
    const actual = (body: LimitedBody) =>
      violations({ "body.amount": { eq: "x" } }, fields, limitedRequest({ rule, path, query: "", body }))[0]!.actual;
    expect(actual(json('{"amount":1000}'))).toBe(1000);
    expect(actual(json('{"amount":false}'))).toBe(false);
    expect(actual(form(["amount", "y".repeat(500)]))).toBe("y".repeat(100));
  });

  it("allow nothing at a rule of which nobody has said what else names the object", () => {
    expect(
      violations({ "path.owner": { eq: "octo" } }, fields, limitedRequest({ rule: bare, path, query: "", body: NONE })),
    ).toEqual([{ because: "unlisted", field: "path.owner", constraint: { eq: "octo" }, actual: null }]);
  });

  it("hold for all that names the same kind of object", () => {
    const where = { "path.repo": { eq: "hello" } };
    expect(allows(where, "", json('{"name":"HELLO"}'))).toBe(true);
    expect(allows(where, "", json('{"name":"other"}'))).toBe(false);
    expect(allows(where, "", form(["name", "other"]))).toBe(false);
    expect(allows(where, "name=other", json("{}"))).toBe(false);
    // It need not be there, but what parsers could read as it may not.
    for (const text of ["{}", "[]", "[{},{}]", '"name"', "null", '{"x":null}']) {
      expect([text, allows(where, "", json(text))]).toEqual([text, true]);
    }
    for (const text of [
      '{"name":[]}',
      '[{"name":{}}]',
      '[{"Name":"other"}]',
      '[{},{"name":"hello"}]',
      '{"name":null}',
      '{"name":5}',
    ]) {
      expect([text, allows(where, "", json(text))]).toEqual([text, false]);
    }
  });

  it.each<[string, string, LimitedBody]>([
    ["the query and the path", "owner=octo", NONE],
    ["another spelling in the query", "OWNER%5B%5D=octo", NONE],
    ["another spelling beside a plain name", "x=1&owner%5B%5D=octo", NONE],
    ["what a parser that separates at ; reads", "a;owner=octo", NONE],
    ["the same after a value", "a=1;owner=octo", NONE],
    ["a name that is no percent-encoded text", "%zz=1", NONE],
    ["JSON and the path", "", json('{"owner":"octo"}')],
    ["a form and the path", "", form(["owner[0]", "octo"])],
    [
      "a part and the path",
      "",
      {
        kind: "multipart",
        parts: [{ name: "owner", filename: undefined, contentType: undefined, content: new Uint8Array() }],
      },
    ],
    ["a body that cannot be read", "", { kind: "unreadable" }],
  ])("refuse a field in two places: %s", (_, query, body) => {
    expect(allows({ "path.owner": { eq: "octo" } }, query, body)).toBe(false);
  });

  it.each<[string, boolean, LimitedBody]>([
    ["the bound itself", true, json('{"amount":100}')],
    ["a number in a text", true, json('{"amount":"100"}')],
    ["a form's number", true, form(["amount", "99.5"])],
    ["more", false, json('{"amount":100.01}')],
    ["more than a double tells", false, json('{"amount":100.0000000000000001}')],
    ["an exponent", false, json('{"amount":1e1}')],
    ["a leading zero", false, form(["amount", "010"])],
    ["another base", false, form(["amount", "0x1"])],
    ["white space", false, form(["amount", " 1"])],
    ["a thousands separator", false, form(["amount", "1,000"])],
    ["digits of another script", false, form(["amount", "\u0661"])],
    ["another type", false, json('{"amount":true}')],
    ["null", false, json('{"amount":null}')],
    ["an object", false, json('{"amount":{"value":1}}')],
    ["absence", false, json("{}")],
    ["no body", false, NONE],
    ["a body that is not JSON", false, json('{"amount":1')],
    ["JSON and more", false, json('{"amount":1} {"amount":1000}')],
    ["a comma too much", false, json('{"amount":1,}')],
    ["no comma", false, json('[{"amount":1} {"amount":2}]')],
    ["null beside it", true, json('{"amount":1,"x":null}')],
    ["a part", true, part("1")],
    ["a part that is a file", false, part("1", "amount.txt")],
    ["twice in one object", false, json('{"amount":1,"amount":1000}')],
    ["a look-alike key", false, json('{"amount":1,"Amount":1000}')],
    ["a key with a dot", false, json('{"amount":1,"a.b":1}')],
    ["__proto__", false, json('{"__proto__":{"amount":1},"amount":1}')],
    ["the key escaped, twice", false, json('{"amount":1,"\\u0061mount":1000}')],
    ["twice in a form", false, form(["amount", "1"], ["amount", "1000"])],
    ["as a list in a form", false, form(["amount[]", "1"])],
    ["each element of a list", true, json('[{"amount":1},{"amount":100}]')],
    ["one element of a list", false, json('[{"amount":1},{"amount":1000}]')],
    ["an element without it", false, json('[{"amount":1},{}]')],
    ["an empty list", false, json('{"amount":[]}')],
    ["a list of lists", true, json('{"amount":[[1],[2,3]]}')],
    ["a deep list", false, json("[".repeat(100_000) + "]".repeat(100_000))],
  ])("read a number with certainty or not at all: %s is %s", (_, expected, body) => {
    expect(allows({ "body.amount": { max: 100 } }, "", body)).toBe(expected);
  });

  it("hold at both of their bounds", () => {
    for (const [amount, expected] of [
      [4, false],
      [5, true],
      [7, true],
      [8, false],
    ] as const) {
      const body = json(JSON.stringify({ amount }));
      expect([amount, allows({ "body.amount": { min: 5, max: 7 } }, "", body)]).toEqual([amount, expected]);
    }
    expect(allows({ "body.amount": { min: 5 } }, "", json('{"amount":"x"}'))).toBe(false);
  });

  it("compare a number in a text by its digits, and one in JSON by its value", () => {
    const equal = { "body.amount": { in: [5, 0] } };
    expect(allows(equal, "", json('{"amount":[5,5.0,0,"5"]}'))).toBe(true);
    expect(allows(equal, "", form(["amount", "5"]))).toBe(true);
    for (const text of ["5.0", "5.00", "-0", "05", "5 ", "+5"]) {
      expect([text, allows(equal, "", form(["amount", text]))]).toEqual([text, false]);
    }
  });

  it("compare true and false with themselves, and in a form with their names", () => {
    for (const [eq, body, expected] of [
      [true, json('{"amount":true}'), true],
      [true, json('{"amount":false}'), false],
      [false, json('{"amount":false}'), true],
      [true, json('{"amount":"true"}'), true],
      [true, json('{"amount":1}'), false],
      [false, json('{"amount":0}'), false],
      [true, form(["amount", "true"]), true],
      [true, form(["amount", "false"]), false],
      [true, form(["amount", "1"]), false],
    ] as const) {
      expect([eq, body, allows({ "body.amount": { eq } }, "", body)]).toEqual([eq, body, expected]);
    }
  });

  it("read a query's field once, with its value, and in no rule whose path has one of its name", () => {
    const where = { "query.state": { eq: "open" } };
    for (const [query, expected] of [
      ["state=open", true],
      ["state", false],
      ["state=", false],
      ["state=open&state=open", false],
      ["state=open&state", false],
      ["state=%zz", false],
      ["state=open&x=%zz", true],
    ] as const) {
      expect([query, allows(where, query)]).toEqual([query, expected]);
    }
    const named = new Map([...path, ["state", "open"]]);
    const request = limitedRequest({ rule, path: named, query: "state=open", body: NONE });
    expect(violations(where, fields, request)).toHaveLength(1);
  });

  it("parse a body once and search it once for a field, however many grants there are", () => {
    let reads = 0;
    const body: LimitedBody = {
      kind: "json",
      get text() {
        reads++;
        return '{"amount":[1,2],"to":{"id":"a"}}';
      },
    };
    const request = limitedRequest({ rule, path, query: "", body });
    for (let max = 0; max < 5; max++) {
      const expected = max < 2 ? 1 : 0;
      expect(violations({ "body.amount": { max }, "body.to.id": { eq: "a" } }, fields, request)).toHaveLength(expected);
    }
    expect([reads, [...request.values.keys()]]).toEqual([1, ["body.amount", "body.to.id"]]);
  });

  it("follow steps into objects and forms", () => {
    const where = { "body.to.id": { in: ["a", "b"] } };
    expect(allows(where, "", json('{"to":{"id":"a","name":"x"},"other":[1,{}]}'))).toBe(true);
    expect(allows(where, "", json('{"to":[{"id":"a"},{"id":["a","b"]}]}'))).toBe(true);
    expect(allows(where, "", json('{"to":{"id":"c"}}'))).toBe(false);
    expect(allows(where, "", json('{"to.id":"a"}'))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["to[name]", "x"]))).toBe(true);
    expect(allows(where, "", form(["to[id]", "a"], ["to[id][]", "c"]))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["to[ID]", "c"]))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["to.id", "c"]))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["to", "c"]))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["to[]", "c"]))).toBe(false);
    expect(allows(where, "", form(["to[id]", "a"], ["To[name]", "c"]))).toBe(false);
    expect(allows(where, "", json('{"to":"a"}'))).toBe(false);
    expect(allows(where, "to[id]=a", json('{"to":{"id":"a"}}'))).toBe(false);
  });

  it("match names of files and branches segment by segment", () => {
    const branch = (glob: string, text: string) =>
      allows({ "body.branch": { glob } }, "", json(JSON.stringify({ branch: text })));
    for (const [glob, text, expected] of [
      ["feature/*", "feature/a", true],
      ["feature/*", "feature/", false],
      ["feature/*", "feature/a/b", false],
      ["feature/*", "feature/..", false],
      ["release-*", "rollback1", false],
      ["release-*.md", "release-1.md", true],
      ["release-*.md", "release-.md", true],
      ["*a*a", "aa", true],
      ["*x*a", "ba", false],
      ["*a*a", "a", false],
      ["a*a", "a", false],
      ["docs/*/x", "docs/./x", false],
      ["main", "Main", false],
    ] as const) {
      expect([glob, text, branch(glob, text)]).toEqual([glob, text, expected]);
    }
  });

  it("exclude only from a closed list", () => {
    const where = { "query.state": { not_in: ["all"] } };
    expect(allows(where, "state=open")).toBe(true);
    expect(allows(where, "state=all")).toBe(false);
    expect(allows(where, "state=ALL")).toBe(false);
    expect(allows(where, "state=new")).toBe(false);
    expect(allows(where)).toBe(false);
    const two = { "query.state": { not_in: ["all", "closed"] } };
    expect([allows(two, "state=all"), allows(two, "state=open")]).toEqual([false, true]);
  });
});

describe("the where of a grant", () => {
  it.each<[unknown, string]>([
    [{ "path.nobody": "x" }, "unknown_constraint_field"],
    [{ owner: "x" }, "unknown_constraint_field"],
    [{ __proto__: "x", "path.owner": "x", constructor: "x" }, "unknown_constraint_field"],
    [{ "path.owner": { like: "x" } }, "unknown_constraint_operator"],
    [{ "path.owner": { toString: "x" } }, "unknown_constraint_operator"],
    [{ "path.owner": { glob: "x*" } }, "invalid_constraint"],
    [{ "path.owner": { not_in: ["x"] } }, "invalid_constraint"],
    [{ "query.state": { not_in: ["nothing"] } }, "invalid_constraint"],
    [{ "body.branch": { glob: "**" } }, "invalid_constraint"],
    [{ "body.amount": { max: "100" } }, "invalid_constraint"],
    [{ "body.amount": { max: Number.NaN } }, "invalid_constraint"],
    [{ "path.owner": { in: [] } }, "invalid_constraint"],
    [{ "path.owner": {} }, "invalid_constraint"],
    [{ "path.owner": null }, "invalid_constraint"],
    [{ "path.owner": ["a"] }, "invalid_constraint"],
    [{}, "invalid_constraint"],
    [[], "invalid_constraint"],
    ["x", "invalid_constraint"],
    [null, "invalid_constraint"],
    [{ "path.owner": { eq: {} } }, "invalid_constraint"],
    [{ "path.owner": { eq: Number.POSITIVE_INFINITY } }, "invalid_constraint"],
    [{ "path.owner": "x".repeat(501) }, "invalid_constraint"],
    [{ "path.owner": { in: ["x", {}] } }, "invalid_constraint"],
    [{ "path.owner": { in: "x" } }, "invalid_constraint"],
    [{ "path.owner": { in: Array.from({ length: 201 }, () => "x") } }, "invalid_constraint"],
    [{ "query.state": { not_in: ["open", "nothing"] } }, "invalid_constraint"],
    [{ "body.branch": { glob: "" } }, "invalid_constraint"],
    [{ "body.branch": { glob: 5 } }, "invalid_constraint"],
    [{ "body.branch": { glob: "x".repeat(501) } }, "invalid_constraint"],
    [Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`path.x${n}`, "x"])), "unknown_constraint_field"],
    [Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`path.x${n}`, "x"])), "invalid_constraint"],
  ])("%j is refused: %s", (where, code) => {
    expect(parseWhere(where, fields, rules)).toMatchObject({ code, message: expect.stringMatching(/^\S.*\.$/) });
  });

  it.each<[string, object]>([
    ["eq", { "path.owner": { eq: "x".repeat(500) } }],
    ["true", { "body.amount": { eq: true } }],
    ["in", { "path.owner": { in: ["x", 1, false] } }],
    ["200 values", { "path.owner": { in: Array.from({ length: 200 }, (_, n) => n) } }],
    ["not_in", { "query.state": { not_in: ["open", "closed"] } }],
    ["glob", { "body.branch": { glob: "feature/*" } }],
    ["500 characters", { "body.branch": { glob: "x".repeat(500) } }],
  ])("may have %s, and is kept as it is", (_, where) => {
    expect(parseWhere(where, fields, rules)).toEqual(where);
  });

  it("names the fields that there are for a permission", () => {
    expect(parseWhere({ "path.nobody": "x" }, fields, rules)).toMatchObject({
      message: expect.stringContaining(
        "may limit: path.owner, path.repo, query.state, body.branch, body.amount, body.to.id.",
      ),
    });
    expect(parseWhere({ "path.nobody": "x" }, fields, [bare])).toMatchObject({
      message: "Requests with this permission have no field that a grant could limit.",
    });
  });

  it("may be short for eq", () => {
    expect(parseWhere({ "path.owner": "octo", "body.amount": { min: 1, max: 5 } }, fields, rules)).toEqual({
      "path.owner": { eq: "octo" },
      "body.amount": { min: 1, max: 5 },
    });
  });

  it("has no field that only a rule of another permission has", () => {
    expect(parseWhere({ "path.owner": "octo" }, fields, [bare])).toMatchObject({ code: "unknown_constraint_field" });
  });
});

/**
 * A checker of its own, written from the rules and slow: it works on what a request was made of, before it was written as text.
 */
interface Made {
  readonly path: readonly (readonly [string, string])[];
  readonly query: readonly (readonly [string, string])[];
  readonly form: readonly (readonly [string, string])[] | undefined;
  readonly json: readonly (readonly [string, Scalar | readonly Scalar[]])[] | undefined;
}

function slowlyAllows(where: Where, made: Made): boolean {
  const same = (name: string, other: string) => name.toLowerCase().replace(/\W.*/, "") === other.toLowerCase();
  return Object.entries(where).every(([field, conditions]) => {
    const [place, name] = field.split(".") as [string, string];
    const check = (where: string, wanted: string, isRequired: boolean) => {
      const found = [
        ...made.path.map(([one, value]) => ["path", one, value] as const),
        ...made.query.map(([one, value]) => ["query", one, value] as const),
        ...(made.form ?? []).map(([one, value]) => ["body", one, value] as const),
        ...(made.json ?? []).map(([one, value]) => ["body", one, value] as const),
      ].filter(([, one]) => same(one, wanted));
      if (found.length === 0) return !isRequired;
      if (found.length > 1) return false;
      const [[foundAt, spelled, value]] = found as [(typeof found)[0]];
      if (foundAt !== where || spelled !== wanted) return false;
      const values: readonly Scalar[] = Array.isArray(value) ? value : [value as Scalar];
      if (values.length === 0) return false;
      return values.every((one) => {
        const number =
          typeof one === "number"
            ? one
            : typeof one === "string" && /^(0|[1-9]\d*)$/.test(one)
              ? Number(one)
              : undefined;
        const equal = (operand: Scalar) =>
          typeof operand === "number"
            ? number === operand
            : typeof one === "string" &&
              (field.startsWith("path.") ? one.toLowerCase() === String(operand).toLowerCase() : one === operand);
        if (conditions.eq !== undefined && !equal(conditions.eq)) return false;
        if (conditions.in && !conditions.in.some(equal)) return false;
        if (conditions.max !== undefined && !(number !== undefined && number <= conditions.max)) return false;
        if (conditions.min !== undefined && !(number !== undefined && number >= conditions.min)) return false;
        return true;
      });
    };
    if (!check(place, name, true)) return false;
    return field !== "path.repo" || check("body", "name", false);
  });
}

describe("whatever is asked", () => {
  const text = fc.constantFrom("octo", "OCTO", "hello", "other", "1", "5", "open");
  const name = fc.constantFrom("owner", "Owner", "repo", "state", "state[]", "amount", "AMOUNT", "name", "title", "x");
  const scalar = fc.oneof(text, fc.integer({ min: 0, max: 9 }));
  const value = fc.oneof(
    { weight: 3, arbitrary: scalar },
    { weight: 1, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  );
  const conditions = fc.oneof(
    scalar.map((eq) => ({ eq })),
    fc.array(scalar, { minLength: 1, maxLength: 4 }).map((list) => ({ in: list })),
    fc.tuple(fc.nat(9), fc.nat(9)).map(([min, max]) => ({ min, max })),
  );
  const where = fc
    .uniqueArray(fc.constantFrom("path.owner", "path.repo", "query.state", "body.amount"), {
      minLength: 1,
      maxLength: 4,
    })
    .chain((names) => fc.tuple(...names.map((one) => fc.tuple(fc.constant(one), conditions))))
    .map((pairs) => Object.fromEntries(pairs) as Where);
  const plain = (...names: string[]) => fc.constantFrom(...names);
  const made: fc.Arbitrary<Made> = fc.record({
    path: fc.tuple(text, text).map(
      ([owner, repo]) =>
        [
          ["owner", owner],
          ["repo", repo],
        ] as const,
    ),
    query: fc.oneof(
      fc.constant([]),
      fc.array(fc.tuple(fc.oneof(plain("state", "title"), name), text), { maxLength: 3 }),
    ),
    form: fc.constant(undefined),
    json: fc.option(fc.array(fc.tuple(fc.oneof(plain("amount", "title"), name), value), { maxLength: 3 }), {
      nil: undefined,
    }),
  });
  const asForm = (one: Made): Made => ({
    ...one,
    json: undefined,
    form: one.json?.flatMap(([key, inner]) =>
      (Array.isArray(inner) ? inner : [inner]).map((each) => [key, String(each)] as const),
    ),
  });
  const encoded = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map(([key, inner]) => `${encodeURIComponent(key)}=${encodeURIComponent(inner)}`).join("&");

  for (const { numRuns, options } of extents(500, 100_000)) {
    it(`what is allowed is what a slow, independent checker allows: ${numRuns} requests`, options, () => {
      fc.assert(
        fc.property(where, made, fc.boolean(), (limits, drawn, isForm) => {
          const one = isForm ? asForm(drawn) : drawn;
          const body: LimitedBody = one.form
            ? { kind: "form", fields: one.form }
            : one.json
              ? json(`{${one.json.map(([key, inner]) => `${JSON.stringify(key)}:${JSON.stringify(inner)}`).join(",")}}`)
              : NONE;
          const isAllowed =
            violations(
              limits,
              fields,
              limitedRequest({ rule, path: new Map(one.path), query: encoded(one.query), body }),
            ).length === 0;
          // A list in JSON that holds two keys of one name is refused even where no limit is on them.
          const names = one.json?.map(([key]) => key) ?? [];
          const isAmbiguous = new Set(names).size < names.length;
          expect(isAllowed).toBe(slowlyAllows(limits, one) && !isAmbiguous);
        }),
        { numRuns },
      );
    });
  }
});
