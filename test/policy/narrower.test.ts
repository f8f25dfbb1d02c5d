import { expect, it } from "vitest";
import type { Conditions, Where } from "../../src/permissions/grant.ts";
import { compileLimits, limitedRequest, violations } from "../../src/policy/limits.ts";
import { bothWheres, isNarrower, isNarrowerWhere } from "../../src/policy/narrower.ts";
import { parseRule } from "../../src/policy/rule.ts";

const LINE = "POST /things things";
const [rule] = parseRule(LINE, "lab");
const fields = compileLimits(
  {
    "body.branch": { alone: [LINE], isPath: true },
    "body.amount": { alone: [LINE], ignoresCase: true, closedList: ["open", "Closed", "all", "5", "7"] },
  },
  [rule!],
);

const LISTS = [["open"], ["open", "closed"], ["Open", "all", 5], [5, 7], ["5"], [true]];
const CONDITIONS: Conditions[] = [
  ...["open", "Open", "a/b", "a/bc", 5, 7, "5", true, false].map((eq) => ({ eq })),
  ...LISTS.map((list) => ({ in: list })),
  ...LISTS.slice(0, 4).map((list) => ({ not_in: list })),
  ...["a/b", "a/*", "*/b", "*", "o*n", "O*"].map((glob) => ({ glob })),
  ...[5, 6].flatMap((n) => [{ min: n }, { max: n }, { min: n, max: 7 }, { in: [5, 7], max: n }]),
  { min: 7, eq: 7 },
  { in: ["open", "a/b"], glob: "a/*" },
];
const VALUES = ["open", "OPEN", "closed", "all", "a/b", "a/bc", "x/b", "5", "7", 5, 6, 7, 8, true, false];

it("is narrower only if whatever meets the one set of conditions meets the other one", () => {
  let proven = 0;
  for (const field of ["body.branch", "body.amount"]) {
    const requests = VALUES.map((value) => {
      const text = JSON.stringify({ [field.slice(5)]: value });
      return limitedRequest({ rule: rule!, path: new Map(), query: "", body: { kind: "json", text } });
    });
    const met = new Map(
      CONDITIONS.map((one) => [
        one,
        requests.map((request) => violations({ [field]: one }, fields, request).length === 0),
      ]),
    );
    for (const one of CONDITIONS) {
      for (const other of CONDITIONS) {
        if (!isNarrowerWhere({ [field]: one }, { [field]: other })) continue;
        proven++;
        // Of a pattern and of numbers, letters have no other case: what differs in it is refused by the grant itself.
        const wider = met.get(one)!.filter((isMet, index) => isMet && !met.get(other)![index]);
        const byCase = field === "body.amount" && other.glob !== undefined;
        if (!byCase) expect([one, other, wider]).toEqual([one, other, []]);
      }
    }
  }
  expect(proven).toBeGreaterThan(2 * CONDITIONS.length);
});

it("writes two sets of conditions as one that only what meets both meets, or not at all", () => {
  let written = 0;
  for (const field of ["body.branch", "body.amount"]) {
    const requests = VALUES.map((value) => {
      const text = JSON.stringify({ [field.slice(5)]: value });
      return limitedRequest({ rule: rule!, path: new Map(), query: "", body: { kind: "json", text } });
    });
    const meets = (where: Where) => requests.map((request) => violations(where, fields, request).length === 0);
    const met = new Map(CONDITIONS.map((one) => [one, meets({ [field]: one })]));
    for (const [at, one] of CONDITIONS.entries()) {
      for (const other of CONDITIONS.slice(at + 1)) {
        const both = bothWheres({ [field]: one }, { [field]: other });
        // Of a pattern, letters have no other case.
        const byCase = field === "body.amount" && (one.glob ?? other.glob) !== undefined;
        if (!both || byCase) continue;
        written++;
        const expected = met.get(one)!.map((isMet, index) => isMet && met.get(other)![index]!);
        const wider = meets(both).filter((isMet, index) => isMet && !expected[index]);
        expect([one, other, wider]).toEqual([one, other, []]);
      }
    }
  }
  expect(written).toBeGreaterThan(2 * CONDITIONS.length);
});

it.each<[Where | null, Where | null, Where | null | undefined]>([
  [null, null, null],
  [null, { a: { eq: 1 } }, { a: { eq: 1 } }],
  [{ a: { eq: 1 } }, null, { a: { eq: 1 } }],
  [{ a: { eq: 1 } }, { b: { eq: 2 } }, { a: { eq: 1 }, b: { eq: 2 } }],
  [{ a: { eq: 1 } }, { a: { eq: 2 } }, undefined],
  [{ a: { in: [1, 2] } }, { a: { in: [2, 3] } }, { a: { in: [2] } }],
  [{ a: { in: [1, 2] } }, { a: { in: [3] } }, undefined],
  [{ a: { min: 1, max: 5 } }, { a: { min: 2, max: 9 } }, { a: { min: 2, max: 5 } }],
  [{ a: { min: 1 } }, { a: { max: 9 } }, { a: { min: 1, max: 9 } }],
  [{ a: { not_in: ["x", "y"] } }, { a: { not_in: ["y", "z"] } }, { a: { not_in: ["x", "y", "z"] } }],
  [{ a: { glob: "a/*" } }, { a: { glob: "*/b" } }, undefined],
  [{ a: { glob: "a/*" } }, { a: { in: ["a/b", "c"] } }, { a: { glob: "a/*", in: ["a/b", "c"] } }],
])("%j and %j are %j", (one, other, both) => expect(bothWheres(one, other)).toEqual(both));

it.each<[Conditions, Conditions, boolean]>([
  [{ eq: "a" }, { in: ["a", "b"] }, true],
  [{ in: ["a"] }, { eq: "a" }, true],
  [{ in: ["a", "c"] }, { in: ["a", "b"] }, false],
  [{ min: 6 }, { min: 5 }, true],
  [{ min: 5 }, { min: 5 }, true],
  [{ max: 5 }, { max: 5 }, true],
  [{ eq: 5 }, { min: 5 }, true],
  [{ eq: 5 }, { max: 5 }, true],
  [{ min: 4 }, { min: 5 }, false],
  [{ max: 5 }, { min: 1 }, false],
  [{ in: [5, 6] }, { min: 5, max: 6 }, true],
  [{ eq: "5" }, { max: 6 }, false],
  [{ eq: "main/x" }, { glob: "main/*" }, true],
  [{ glob: "main/x*" }, { glob: "main/*" }, false],
  [{ not_in: ["a", "b"] }, { not_in: ["a"] }, true],
  [{ eq: "b" }, { not_in: ["a"] }, false],
  [{ eq: "b" }, { soon: 1 } as Conditions, false],
])("%j within %j: %s", (one, other, expected) => {
  expect(isNarrowerWhere({ "body.x": one }, { "body.x": other })).toBe(expected);
});

it("looks at every field and at the end", () => {
  const [owner, both] = [{ "path.owner": { eq: "o" } }, { "path.owner": { eq: "o" }, "path.repo": { eq: "r" } }];
  expect([isNarrowerWhere(both, owner), isNarrowerWhere(owner, both)]).toEqual([true, false]);
  expect([isNarrowerWhere(owner, null), isNarrowerWhere(null, owner), isNarrowerWhere(null, null)]).toEqual([
    true,
    false,
    true,
  ]);
  const until = (expiresAt: number | null) => ({ where: null, expiresAt });
  expect(isNarrower(until(5), until(null))).toBe(true);
  expect(isNarrower(until(5), until(5))).toBe(true);
  expect(isNarrower(until(6), until(5))).toBe(false);
  expect(isNarrower(until(null), until(5))).toBe(false);
});
