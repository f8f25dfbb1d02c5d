import { describe, expect, it } from "vitest";
import { formsMeet, literal, patternOf, TYPES, type Forms } from "../../src/policy/segment-form.ts";

const text = (...texts: string[]): Forms => texts.map(literal);
const OPTIONAL_A: Forms = [[["a", 0, 1], ...literal("b")]];

describe("the forms of a segment", () => {
  it.each<[string, Forms, Forms, boolean]>([
    ["a text meets itself", text("ab"), text("ab"), true],
    ["and no other of its length", text("ab"), text("ac"), false],
    ["nor one that goes on", text("ab"), text("abc"), false],
    ["nor the empty one", text("ab"), text(""), false],
    ["the empty text meets itself", text(""), text(""), true],
    ["one of several texts meets one of several", text("a", "b"), text("c", "b"), true],
    ["and none of them none", text("a", "b"), text("c", "d"), false],
    ["a run meets a text of as many", [[["0-9", 2, 3]]], text("12"), true],
    ["of at most as many", [[["0-9", 2, 3]]], text("123"), true],
    ["not of fewer", [[["0-9", 2, 3]]], text("1"), false],
    ["not of more", [[["0-9", 2, 3]]], text("1234"), false],
    ["an open run meets one that is long", [[["0-9", 1, Infinity]]], text("12345"), true],
    ["not of none", [[["0-9", 1, Infinity]]], text(""), false],
    ["two open runs meet", [[["0-9", 1, Infinity]]], [[["0-3", 2, Infinity]]], true],
    ["not of other characters", [[["0-9", 1, Infinity]]], [[["a-z", 1, Infinity]]], false],
    ["what may be left out", OPTIONAL_A, text("b"), true],
    ["on either side", text("b"), OPTIONAL_A, true],
    ["or not", OPTIONAL_A, text("ab"), true],
    ["but not twice", OPTIONAL_A, text("aab"), false],
    [
      "an open run ends anywhere",
      [[["a", 1, Infinity], ...literal("ab")]],
      [
        [
          ["a", 3, 3],
          ["b", 1, Infinity],
        ],
      ],
      true,
    ],
    ["but before the end", [[["a", 1, Infinity], ...literal("ab")]], text("aaa"), false],
    ["a bracket is a character", text("[^]-"), [[["\\[^\\]-", 4, 4]]], true],
  ])("%s", (_, some, others, expected) => {
    expect(formsMeet(some, others)).toBe(expected);
    expect(formsMeet(others, some)).toBe(expected);
  });

  it.each([
    [
      "record",
      ["001000000000001", "001000000000001AAA", "a0B5e00000AbCdE"],
      ["00100000000001", "0010000000000012", "abc000000000001"],
    ],
    ["uuid", ["0123abcd-0123-abcd-0123-0123456789ab"], ["0123abcd-0123-abcd-0123-0123456789a"]],
    ["version", ["v61.0"], ["v61", "v6100.0", "61.0"]],
    ["month", ["2026-03", "2026-03-beta"], ["2026-3", "2026-03-alpha"]],
    ["custom", ["Invoice__c", "my_Field__C"], ["Invoice_c", "_x__c"]],
  ])("match whole texts of the type %s", (type, matching, others) => {
    const pattern = patternOf(TYPES[type]!);
    for (const one of matching) expect(pattern.test(one), one).toBe(true);
    for (const one of others) expect(pattern.test(one), one).toBe(false);
  });
});
