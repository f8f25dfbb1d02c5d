import { describe, expect, it } from "vitest";
import { canonicalPath, splitTarget } from "../../src/policy/path.ts";

describe("the canonical path", () => {
  it.each<[string, string[], string]>([
    ["", [], "/"],
    ["/", [], "/"],
    ["/a", ["a"], "/a"],
    ["/repos/octo/hello.js", ["repos", "octo", "hello.js"], "/repos/octo/hello.js"],
    // Letters, digits, `-`, `.`, `_` and `~` are decoded, and everything else is encoded in capitals.
    ["/%61%2d%7e/%c3%a4", ["a-~", "ä"], "/a-~/%C3%A4"],
    ["/ä/🔑", ["ä", "🔑"], "/%C3%A4/%F0%9F%94%91"],
    ["/a b/{x}", ["a b", "{x}"], "/a%20b/%7Bx%7D"],
    ["/a@b/c:d,e=f", ["a@b", "c:d,e=f"], "/a@b/c:d,e=f"],
    ["/a%2Fb", ["a/b"], "/a%2Fb"],
    ["/.well-known/..a", [".well-known", "..a"], "/.well-known/..a"],
    ["/a/", ["a"], "/a/"],
    ["/%61/b%2fc/", ["a", "b/c"], "/a/b%2Fc/"],
    ["/%2f", ["/"], "/%2F"],
    ["/%2Fa/", ["/a"], "/%2Fa/"],
  ])("of %j is %j", (raw, texts, encoded) => {
    expect(canonicalPath(raw)).toEqual({ texts, slash: raw.endsWith("/"), encoded });
  });

  it.each([
    ["/%", "bad_encoding"],
    ["/%4", "bad_encoding"],
    ["/%4g", "bad_encoding"],
    ["/%+1", "bad_encoding"],
    ["/%ff", "bad_encoding"],
    ["/%c3", "bad_encoding"],
    ["/\ud800", "bad_encoding"],
    ["/a\udc00", "bad_encoding"],
    ["/%00", "control_character"],
    ["/a%0d%0a", "control_character"],
    ["/%c2%85", "control_character"],
    ["/a\\b", "backslash"],
    ["/a%5cb", "backslash"],
    ["/a;b", "path_parameter"],
    ["/a%3bb", "path_parameter"],
    ["/a%ef%bc%8fb", "lookalike_character"],
    ["/a%252fb", "double_encoding"],
    ["//a", "empty_segment"],
    ["/a//b", "empty_segment"],
    ["a/b", "empty_segment"],
    ["ab", "empty_segment"],
    ["a/", "empty_segment"],
    ["//", "empty_segment"],
    ["/a//", "empty_segment"],
    ["/a%2f", "empty_segment"],
    ["/%2f%2f", "empty_segment"],
    ["/%2fa%2F", "empty_segment"],
    ["/a%2f%2fb", "empty_segment"],
    ["/..", "dot_segment"],
    ["/a/./b", "dot_segment"],
    ["/a/%2e%2E/b", "dot_segment"],
    ["/a%2f..", "dot_segment"],
    ["/a/..%23", "dot_segment"],
    ["/a/..%3fb", "dot_segment"],
    ["/a.", "trailing_dot_or_space"],
    ["/a%20/b", "trailing_dot_or_space"],
    ["/a%e2%80%83", "trailing_dot_or_space"],
    ["/...", "trailing_dot_or_space"],
  ])("of %j is refused: %s", (raw, fault) => {
    expect(canonicalPath(raw)).toBe(fault);
  });

  it("is at most 8,192 characters long", () => {
    expect(canonicalPath(`/${"a".repeat(8191)}`)).toMatchObject({ texts: ["a".repeat(8191)] });
    expect(canonicalPath(`/${"a".repeat(8192)}`)).toBe("path_too_long");
  });
});

describe("a target", () => {
  it("is split at its first question mark", () => {
    expect(splitTarget("/a")).toEqual({ path: "/a", query: "" });
    expect(splitTarget("/a?b?c=%3f")).toEqual({ path: "/a", query: "b?c=%3f" });
  });
});
