// @module-tag slow
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");

function explain(args: readonly string[], input = "") {
  const done = spawnSync("node", ["scripts/explain.ts", ...args], {
    cwd: ROOT,
    encoding: "utf8",
    input,
    maxBuffer: 1e8,
  });
  const lines = done.stdout.split("\n").filter(Boolean);
  return { status: done.status, stderr: done.stderr, answers: lines.map((line) => JSON.parse(line)) };
}

describe("npm run explain", () => {
  it("answers for one request with exactly these fields", () => {
    expect(explain(["github", "GET", "/repos/o/r/issues/5"])).toEqual({
      status: 0,
      stderr: "",
      answers: [
        {
          service: "github",
          method: "GET",
          path: "/repos/o/r/issues/5",
          required: "github:issues:read",
          all_required: ["github:issues:read"],
          decision: "deny",
          code: "insufficient_permissions",
          dropped: [],
        },
      ],
    });
    const { answers } = explain([
      "github",
      "GET",
      "/repos/o/r/issues/5",
      "--permission",
      "github:issues:read",
      "--header",
      "Cookie: a: b",
    ]);
    expect(answers).toMatchObject([{ decision: "allow", code: "allowed", dropped: ["cookie"] }]);
  });

  it("says with grants which limits there are, and which are not met", SLOW, () => {
    const grant = { permission: "github:issues:write", where: { "path.repo": "hello" } };
    const line = { service: "github", method: "PATCH", path: "/repos/octo/other/issues/5", grants: [grant] };
    const limits = {
      decision: "deny",
      code: "constraint_violated",
      limitable: ["path.owner", "path.repo", "path.issue_number", "body.state"],
      limits: [{ permission: "github:issues:write", any_of: [{ "path.repo": { eq: "hello" } }] }],
      violations: [{ field: "path.repo", constraint: { eq: "hello" }, actual: "other" }],
    };
    expect(explain(["github", "PATCH", line.path, "--grant", JSON.stringify(grant)])).toMatchObject({
      status: 0,
      answers: [limits],
    });
    const wrong = { ...line, grants: [{ ...grant, where: { "path.nobody": "x" } }] };
    const { status, answers } = explain(["-"], `${JSON.stringify(line)}\n${JSON.stringify(wrong)}\n`);
    expect([status, answers]).toMatchObject([1, [limits, { code: "bad_line" }]]);
    expect(explain(["github", "PATCH", line.path, "--grant", "{"])).toMatchObject({ status: 1, answers: [] });
  });

  it("answers ten thousand lines, each in its place, by one process", SLOW, () => {
    const lines = Array.from({ length: 10_000 }, (_, i) =>
      i === 7 ? "{" : JSON.stringify({ service: "github", method: "GET", path: `/repos/o/r/issues/${i}` }),
    );
    const began = Date.now();
    const { status, answers } = explain(["-"], lines.join("\n"));
    // A quiet machine needs two seconds. With a process for each it would need half an hour.
    expect(Date.now() - began).toBeLessThan(120_000);
    expect(answers).toHaveLength(10_000);
    expect(answers[9_999]).toMatchObject({ path: "/repos/o/r/issues/9999", required: "github:issues:read" });
    expect(answers[7]).toMatchObject({ decision: "refuse", code: "bad_line" });
    expect(status).toBe(1);
  });

  it("answers every line, an odd one with what is known of it, and says by its status that there was one", SLOW, () => {
    const odd = [
      "",
      "{",
      "null",
      "[1]",
      '{"service":"github","method":"GET"}',
      '{"service":"github","method":1,"path":"/x"}',
      '{"service":"github","method":"GET","path":"/x","permissions":"github:*:*"}',
      '{"service":"github","method":"GET","path":"/x","headers":{"accept":1}}',
    ];
    const good = '{"service":"github","method":"GET","path":"/repos/o/r","headers":null,"permissions":null,"more":1}';
    const { status, stderr, answers } = explain(["-"], [...odd, good, good].join("\r\n"));
    expect([status, stderr]).toEqual([1, ""]);
    expect(answers.map(({ code }) => code)).toEqual([
      ...odd.map(() => "bad_line"),
      "insufficient_permissions",
      "insufficient_permissions",
    ]);
    expect(answers[4]).toMatchObject({ service: "github", method: "GET", path: null, required: null });
    expect(explain(["-"], `${good}\n`)).toMatchObject({ status: 0, answers: [{ path: "/repos/o/r" }] });
  });

  it("says how it is called where it is called otherwise", SLOW, () => {
    expect(explain(["github"])).toMatchObject({
      status: 1,
      answers: [],
      stderr: expect.stringContaining("JSON lines"),
    });
  });
});
