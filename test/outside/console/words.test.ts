import { describe, expect, it } from "vitest";
import type { AuditRecord, Delivery } from "../../../src/client/wire.ts";
import { compareDays, drawCalls } from "../../../src/console/call-chart.ts";
import { changesOf } from "../../../src/console/changes.ts";
import { failingWebhooks } from "../../../src/console/deliveries.ts";
import { compareGrants, parseCondition, typedCondition } from "../../../src/console/draft-grants.ts";
import {
  addNewest,
  detailOf,
  searchedFilter,
  withoutOwnReadings,
  type RecordFilter,
} from "../../../src/console/records.ts";
import {
  cut,
  duration,
  exactTime,
  inWords,
  plural,
  shortId,
  visibleParts,
  visibleText,
} from "../../../src/console/text.ts";
import { browserName } from "../../../src/console/user-agent.ts";

/** What the console makes of what it reads, without a browser. */
const shown = (text: string, keeps?: string): string =>
  visibleParts(text, keeps)
    .map((part) => (part.hidden ? `[${part.text}]` : part.text))
    .join("");

describe("a text that somebody else wrote", () => {
  it("shows characters that nobody sees, or that turn its direction, by their names", () => {
    expect(shown("invoice\u202Efdp.exe")).toBe("invoice[U+202E]fdp.exe");
    expect(shown("ad\u200Bmin\u2066\u00AD")).toBe("ad[U+200B]min[U+2066][U+00AD]");
    expect(shown("a\u00A0b\u3000c\u0000\u001B[31m")).toBe("a[U+00A0]b[U+3000]c[U+0000][U+001B][31m");
    expect(shown("tag\u{E0041}\uD800 \uE000 \u2028")).toBe("tag[U+E0041][U+D800] [U+E000] [U+2028]");
  });

  it("leaves what is seen as it is, and the line ends of a body", () => {
    expect(shown("Grüße an 李雷 und مرحبا")).toBe("Grüße an 李雷 und مرحبا");
    expect(shown("<script>alert(1)</script>")).toBe("<script>alert(1)</script>");
    expect(shown("one\n\ttwo", "\n\t")).toBe("one\n\ttwo");
    expect(shown("one\n\u202Etwo", "\n\t")).toBe("one\n[U+202E]two");
    expect(visibleParts("")).toEqual([]);
  });

  it("is cut between characters", () => {
    expect(cut("abc", 3)).toBe("abc");
    expect(cut("ab😀d", 3)).toBe("ab");
    expect(cut("ab😀d", 4)).toBe("ab😀");
    expect(shortId("agt_7Qm2abcdefghijklx9Lf")).toBe("agt_7Qm2…x9Lf");
  });
});

describe("a browser", () => {
  const webkit = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
  const blink = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0";
  const iphone = "(iPhone; CPU iPhone OS 18_5 like Mac OS X)";
  it.each([
    ["Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux"],
    ["Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux"],
    ["Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox on Android"],
    [
      `Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) ${webkit} FxiOS/145.0 Mobile/15E148 Safari/605.1.15`,
      "Firefox on iPad",
    ],
    [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${blink} Safari/537.36`, "Chrome on Windows"],
    [`Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${blink} Safari/537.36`, "Chrome on ChromeOS"],
    [`Mozilla/5.0 (Linux; Android 10; K) ${blink} Mobile Safari/537.36`, "Chrome on Android"],
    [`Mozilla/5.0 ${iphone} ${webkit} CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1`, "Chrome on iPhone"],
    [`Mozilla/5.0 (X11; Linux x86_64) ${blink.replace("Chrome", "HeadlessChrome")} Safari/537.36`, "Chrome on Linux"],
    [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${blink} Safari/537.36 Edg/142.0.0.0`, "Edge on Windows"],
    [`Mozilla/5.0 (Linux; Android 10; K) ${blink} Mobile Safari/537.36 EdgA/142.0.0.0`, "Edge on Android"],
    [`Mozilla/5.0 ${iphone} ${webkit} Version/18.0 EdgiOS/142.0 Mobile/15E148 Safari/604.1`, "Edge on iPhone"],
    [`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${blink} Safari/537.36 OPR/126.0.0.0`, "Opera on macOS"],
    [
      `Mozilla/5.0 (Linux; Android 10; K) ${webkit} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36`,
      "Samsung Internet on Android",
    ],
    [`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${webkit} Version/18.5 Safari/605.1.15`, "Safari on macOS"],
    [`Mozilla/5.0 ${iphone} ${webkit} Version/18.5 Mobile/15E148 Safari/604.1`, "Safari on iPhone"],
    [`Mozilla/5.0 (PlayStation 4 11.00) ${blink} Safari/537.36`, "Chrome"],
  ])("that calls itself %s is %s", (text, name) => expect(browserName(text)).toBe(name));

  it.each([
    "",
    "agentauth",
    "curl/8.5.0",
    "Firefox on Linux",
    "Mozilla/5.0 (X11; Linux x86_64)",
    "NotFirefox/1 Linux",
    `Mozilla/5.0 (Linux) ${webkit} Safari/605.1.15`,
    "<b>Safari</b>/1",
  ])("has no name if it calls itself %j", (text) => expect(browserName(text)).toBeNull());

  it("has a name of known words only, whatever else it says", () => {
    expect(browserName("\u202E<img src=x onerror=alert(1)> Firefox/1 Linux\n<script>")).toBe("Firefox on Linux");
    expect(browserName(`${"Version/1 ".repeat(50_000)}Windows NT`)).toBeNull();
    expect(visibleText("\u202E<i>\n")).toBe("U+202E<i>U+000A");
  });
});

describe("times and numbers", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  it.each([
    ["2026-11-26T11:59:50Z", "now"],
    ["2026-11-26T11:56:00Z", "4 min ago"],
    ["2026-11-26T09:00:00Z", "3 h ago"],
    ["2026-11-26T15:00:00Z", "in 3 h"],
    ["2026-11-20T09:00:00Z", "20 Nov"],
    ["2025-01-02T09:00:00Z", "2 Jan 2025"],
  ])("%s is %s", (at, words) => expect(inWords(Date.parse(at), now, "UTC")).toBe(words));

  it("are exact beside their words, local and in UTC", () => {
    expect(exactTime(now, "Europe/Berlin")).toBe("26 Nov 2026, 13:00:00 local · 26 Nov 2026, 12:00:00 UTC");
    expect([duration(3600), duration(90), duration(1)]).toEqual(["1 hour", "2 minutes", "1 second"]);
    expect([plural(1, "agent"), plural(1204, "agent")]).toEqual(["1 agent", "1,204 agents"]);
  });
});

describe("grants", () => {
  it("are compared as what goes, what stays and what comes", () => {
    const before = [{ permission: "github:issues:read" }, { permission: "github:issues:write" }];
    const after = [
      { permission: "github:issues:read" },
      {
        permission: "github:issues:write",
        where: { "path.repo": { in: ["a", "b"] } },
        expires_at: "2099-12-04T18:00:00.000Z",
      },
    ];
    expect(compareGrants(before, after)).toEqual([
      { kind: "same", line: "github:issues:read" },
      { kind: "removed", line: "github:issues:write" },
      { kind: "added", line: "github:issues:write · path.repo is one of a, b · until 2099-12-04 18:00 UTC" },
    ]);
  });

  it.each([
    ["path.owner", "eq", " octo ", { eq: "octo" }],
    ["path.number", "eq", "5", { eq: "5" }],
    ["body.amount", "eq", "5", { eq: 5 }],
    ["body.amount", "eq", '"5"', { eq: "5" }],
    ["body.draft", "eq", "true", { eq: true }],
    ["path.repo", "in", "a, b,", { in: ["a", "b"] }],
    ["body.amount", "max", "500", { max: 500 }],
    ["body.amount", "max", "much", undefined],
    ["path.ref", "glob", "release/*", { glob: "release/*" }],
    ["path.owner", "eq", " ", undefined],
  ] as const)("%s %s %s", (field, operator, typed, condition) => {
    expect(parseCondition(field, operator, typed)).toEqual(condition);
    if (condition) {
      const [value] = Object.values(condition);
      expect(parseCondition(field, operator, typedCondition(field, value as string))).toEqual(condition);
    }
  });
});

const record = (fields: Partial<AuditRecord>): AuditRecord =>
  ({
    id: "aud_1",
    outcome: "success",
    method: null,
    service: null,
    path: null,
    message: null,
    count: null,
    ...fields,
  }) as AuditRecord;

describe("records", () => {
  it("are told in a line: the call, what a change was, or the message", () => {
    expect(detailOf(record({ method: "GET", service: "github", path: "/user" }))).toBe("GET github /user");
    expect(detailOf(record({ message: "revoked token", count: 17 }))).toBe("revoked token, 17 times");
    expect(
      detailOf(
        record({
          before: { status: "active", permissions: ["a:b:read", "a:b:write"] },
          after: { status: "suspended", permissions: ["a:b:read", "a:c:read"], scope: null },
        }),
      ),
    ).toBe("status active → suspended, permissions + a:c:read − a:b:write");
  });

  it("tell a change of grants as people read grants: permission, limits and end", () => {
    const grant = (permission: string, where: object | null = null, expires_at: string | null = null) => ({
      id: `grt_${permission}`,
      permission,
      where,
      expires_at,
    });
    const limits = { "path.repo": { in: ["a", "b"] } };
    const before = { grants: [grant("github:issues:read"), grant("github:issues:write"), grant("slack:chat:write")] };
    const end = "2099-12-04T18:00:00.000Z";
    const after = { grants: [grant("github:issues:read"), grant("github:issues:write", limits, end)] };
    const limited = "github:issues:write · path.repo is one of a, b · until 2099-12-04 18:00 UTC";
    expect(changesOf(before, after)).toEqual([
      {
        name: "grants",
        isSingle: false,
        lines: [
          { kind: "same", line: "github:issues:read" },
          { kind: "removed", line: "github:issues:write" },
          { kind: "added", line: limited },
          { kind: "removed", line: "slack:chat:write" },
        ],
      },
    ]);
    expect(detailOf(record({ before, after }))).toBe(`grants + ${limited} − github:issues:write − slack:chat:write`);
    expect(changesOf(null, before)[0]!.lines.map(({ kind }) => kind)).toEqual(["same", "same", "same"]);
    expect(changesOf({ grants: [grant("a:b:c", limits)] }, { grants: [] })[0]!.lines).toEqual([
      { kind: "removed", line: "a:b:c · path.repo is one of a, b" },
    ]);
  });

  it("tell the fields of objects, and what is set or taken away, one by one", () => {
    const before = { metadata: { team: "a", cost: "1" }, description: null, tier: "free", owner: "x", key_ids: ["k1"] };
    const after = { metadata: { team: "b", cost: "1" }, description: "It", tier: "free", owner: null, key_id: "k2" };
    expect(detailOf(record({ before, after }))).toBe(
      "metadata + team: b − team: a, description It, owner x → none, key_ids − k1, key_id k2",
    );
    expect(changesOf(before, after).find(({ name }) => name === "metadata")!.lines).toEqual([
      { kind: "same", line: "cost: 1" },
      { kind: "removed", line: "team: a" },
      { kind: "added", line: "team: b" },
    ]);
  });

  it("are shown whatever form they have: nothing that an agent wrote breaks them", () => {
    const hostile = JSON.parse(
      '{"grants": [7, null, "<b>", {"permission": 5}, {"permission": "p", "where": "glob"}, {"permission": "p", "where": {"f": null}}, {"permission": "p", "expires_at": 1}, [[]]], "__proto__": {"toString": 1}, "constructor": {"a": {"b": [1]}}}',
    );
    for (const [one, other] of [
      [hostile, null],
      [null, hostile],
      [hostile, {}],
      [{}, hostile],
      [hostile, hostile],
    ] as const) {
      const changes = changesOf(one, other);
      expect(changes.map(({ name }) => name)).toEqual(["grants", "__proto__", "constructor"]);
      for (const { lines } of changes) for (const { line } of lines) expect(typeof line).toBe("string");
    }
    expect(changesOf(null, hostile)[0]!.lines.map(({ line }) => line)).toEqual([
      "7",
      "null",
      "<b>",
      '{"permission":5}',
      '{"permission":"p","where":"glob"}',
      '{"permission":"p","where":{"f":null}}',
      '{"permission":"p","expires_at":1}',
      "[[]]",
    ]);
  });

  it("are searched by what was typed: an id, or a part of a text", () => {
    expect(searchedFilter("agt_7Qm2")).toEqual({ agent_id: "agt_7Qm2" });
    expect(searchedFilter("019ac0de-1111-7222-8333-944445555666")).toEqual({
      request_id: "019ac0de-1111-7222-8333-944445555666",
    });
    expect(searchedFilter("/repos/octo")).toEqual({ q: "/repos/octo" });
  });

  it("come on top as they are made, each once, and with their end", () => {
    const [one, two] = [record({ id: "1", outcome: "unknown" }), record({ id: "2" })];
    const known = [two, one];
    expect(addNewest(known, [two, one])).toBe(known);
    const ended = record({ id: "1" });
    expect(addNewest(known, [record({ id: "3" }), two, ended]).map(({ id, outcome }) => [id, outcome])).toEqual([
      ["3", "success"],
      ["2", "success"],
      ["1", "success"],
    ]);
  });

  it("do not tell somebody that they are reading, unless they ask", () => {
    const by = (id: string) => ({ type: "person", id, name: null }) as const;
    const records = [
      record({ id: "1", action: "audit.read", actor: by("per_me") }),
      record({ id: "2", action: "audit.read", actor: by("per_other") }),
      record({ id: "3", action: "agent.updated", actor: by("per_me") }),
    ];
    const ids = (filter: RecordFilter) => withoutOwnReadings(records, filter, "per_me").map(({ id }) => id);
    expect(ids({})).toEqual(["2", "3"]);
    expect(ids({ action: "audit.read" })).toEqual(["1", "2", "3"]);
  });
});

describe("calls", () => {
  const hour = (success: number, denied = 0, failed = 0) => ({ at: "", success, denied, failed, unknown: 0 });
  const idle = (count: number) => Array.from({ length: count }, () => hour(0));

  it("are compared with the day before", () => {
    expect(compareDays([...idle(23), hour(100), ...idle(23), hour(108, 3, 1)])).toEqual({
      calls: 112,
      denied: 3,
      failed: 1,
      deniedShare: "2.68 %",
      change: "+12 % on the day before",
    });
    expect(compareDays(idle(48))).toMatchObject({ calls: 0, deniedShare: "0 %", change: undefined });
  });

  it("are drawn within the picture", () => {
    expect(drawCalls([hour(0), hour(50, 50), hour(0)])).toEqual({
      line: "M6 140 L360 10 L714 140",
      bars: [{ x: 354, y: 75, height: 65 }],
      most: 100,
    });
    expect(drawCalls(idle(24))).toMatchObject({ bars: [], most: 1 });
    expect(drawCalls([])).toMatchObject({ line: "", bars: [] });
  });
});

it("webhooks that keep failing are named once, those with most deliveries first", () => {
  const delivery = (id: string, webhook_id: string) => ({ id, webhook_id }) as Delivery;
  const failing = failingWebhooks([
    delivery("4", "a"),
    delivery("3", "b"),
    delivery("2", "b"),
    delivery("1", "a"),
    delivery("0", "b"),
  ]);
  expect(failing.map(({ webhookId, deliveries, last }) => [webhookId, deliveries, last.id])).toEqual([
    ["b", 3, "3"],
    ["a", 2, "4"],
  ]);
});
