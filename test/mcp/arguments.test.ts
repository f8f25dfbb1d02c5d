import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";
import { inputSchema, toRequest } from "../../src/mcp/arguments.ts";
import { operationsOf, type Operation } from "../../src/mcp/operations.ts";
import { extents } from "../support/extents.ts";

const { services, faults } = loadServices(
  new Map([
    [
      "own",
      {
        base_url: "https://own.example.com/base",
        resources: { things: ["read", "write"] },
        rules: [
          "GET,POST /things things",
          "* /things/{id} things",
          "GET /things/{id:int}/parts things",
          "GET /models/{model}:generate things",
          "GET /labels/{name:text!admin} things",
          "GET /files/{path...} things",
          "GET /reports/{kind:daily|weekly}/{day:month}/ things",
        ],
        operations: { "GET /labels/{name:text!admin}": { query: { page: { type: "integer" } }, required: ["page"] } },
      },
    ],
    // Names that would be the same as those of others.
    ["own_list", { base_url: "https://own.example.com", resources: { x: ["read"] }, rules: ["GET /things x"] }],
    [
      "a",
      {
        base_url: "https://own.example.com",
        resources: { x: ["read"] },
        rules: ["GET /b_list_c x", "GET /x/{y:int} x", "GET /x/{y:uuid} x"],
      },
    ],
    [
      "a_list",
      { base_url: "https://own.example.com", resources: { x: ["read"] }, rules: ["GET /b_list_c x", "GET /things x"] },
    ],
  ]),
  BUILT_IN_CATALOGUE,
);
const RESERVED = new Set(["explain", "own_get_model_generate"]);
const operations = [...operationsOf(services, RESERVED).values()];

describe("the names of operations", () => {
  it("are unique, of at most 64 characters that every client takes, and not reserved", () => {
    expect(faults).toEqual([]);
    expect(operations.length).toBeGreaterThan(400);
    const names = operations.map(({ name }) => name);
    expect(names.filter((name) => !/^[A-Za-z0-9_-]{1,64}$/.test(name))).toEqual([]);
    expect(names.filter((name) => RESERVED.has(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
    // As many as there are: none has taken the place of another.
    const written = operations.map(
      ({ service, method, path, rule }) => `${service.name} ${method} ${path} ${rule.source}`,
    );
    expect(new Set(written).size).toBe(written.length);
  });

  it("depend on nothing but the operation, as long as no other has the same", () => {
    const alone = loadServices(new Map(), BUILT_IN_CATALOGUE).services;
    const keyOf = ({ service, method, path, rule }: Operation) => `${service.name} ${method} ${path} ${rule.source}`;
    const before = new Map(operations.map((one) => [keyOf(one), one.name]));
    for (const one of operationsOf(alone, RESERVED).values()) expect(before.get(keyOf(one))).toBe(one.name);
  });

  it.each([
    ["github", "GET", "/repos/{owner}/{repo}/issues", "github_list_repo_issues"],
    ["github", "POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", "github_create_repo_issue_comment"],
    ["github", "PATCH", "/repos/{owner}/{repo}/issues/{issue_number}", "github_update_repo_issue"],
    ["github", "GET", "/repos/{owner}/{repo}/branches", "github_list_repo_branches"],
    ["slack", "POST", "/api/chat.postMessage", "slack_post_chat_postMessage"],
    ["zendesk", "GET", "/api/v2/tickets/{id}", "zendesk_get_ticket"],
    ["stripe", "GET", "/v1/customers/{id}", "stripe_get_customer"],
  ])("of %s %s %s is %s", (service, method, path, name) => {
    const found = operations.find((one) => one.service.name === service && one.method === method && one.path === path);
    expect(found?.name).toBe(name);
  });

  it("are not made of paths that are another spelling", () => {
    expect(operations.filter(({ path }) => path.startsWith("/repositories/"))).toEqual([]);
    expect(operations.filter(({ service, method }) => service.name === "slack" && method === "GET")).toEqual([]);
  });
});

/** What an attacker would write in the place of a segment. */
const HOSTILE = fc.oneof(
  fc.constantFrom(
    "..",
    ".",
    "%2e%2e",
    "a/../b",
    "a%2Fb",
    "a\\b",
    "a;b",
    "a?b=c",
    "a#b",
    "//evil.example",
    "a\u0000",
    "a\r\nx: y",
    "\uff0f",
    "@evil",
    ":80",
    "x:y",
  ),
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.string({ maxLength: 12 }),
);
const VALUE = fc.oneof(
  HOSTILE,
  fc.integer(),
  fc.constantFrom("1", "7", "abc", "2026-03"),
  fc.jsonValue({ maxDepth: 1 }) as fc.Arbitrary<unknown>,
);
const QUERY = fc.dictionary(
  HOSTILE,
  fc.oneof(HOSTILE, fc.boolean(), fc.double(), fc.array(HOSTILE, { maxLength: 3 })),
  { maxKeys: 3 },
);

const argumentsOf = ({ parts, method }: Operation): fc.Arbitrary<Record<string, unknown>> => {
  const ofPath = parts.flatMap((part) => ("argument" in part ? [[part.argument, VALUE] as const] : []));
  return fc
    .record({
      path: fc.record(Object.fromEntries(ofPath)),
      query: fc.option(QUERY, { nil: undefined }),
      body: fc.jsonValue(),
    })
    .map(({ path, query, body }) => {
      const args: Record<string, unknown> = path;
      if (query) args.query = query;
      if (method !== "GET") args.body = body;
      return args;
    });
};

describe("no argument", () => {
  for (const { numRuns, options } of extents(100, 20_000))
    it(`leads to another path, service or parameter than the schema says (${numRuns} calls)`, options, () => {
      let sent = 0;
      fc.assert(
        fc.property(
          fc.constantFrom(...operations).chain((operation) => fc.tuple(fc.constant(operation), argumentsOf(operation))),
          ([operation, args]) => {
            const request = toRequest(operation, args);
            if (!("target" in request)) {
              expect(request.length).toBeGreaterThan(0);
              return;
            }
            sent++;
            const intended = `https://gateway.example/proxy/${operation.service.name}${request.target}`;
            const url = new URL(intended);
            // No URL parser changes a character of it.
            expect([url.href, new Request(intended).url]).toEqual([intended, intended]);
            // The parameters are those of the arguments, and no others.
            const wanted = Object.entries((args.query ?? {}) as Record<string, unknown>).flatMap(([name, value]) =>
              (Array.isArray(value) ? value : [value]).map((one) => [name, String(one)]),
            );
            expect([...url.searchParams]).toEqual(wanted);
            // Each part of the path is what stands there.
            const segments = url.pathname
              .slice(`/proxy/${operation.service.name}/`.length)
              .split("/")
              .map(decodeURIComponent);
            const texts = operation.parts.map((part) => ("text" in part ? part.text : undefined));
            for (const [index, text] of texts.entries()) if (text !== undefined) expect(segments[index]).toBe(text);
            for (const segment of segments.slice(0, operation.slash ? -1 : undefined))
              expect(segment).not.toMatch(/^\.{0,2}$/);
            // And the gateway finds the operation's own rule for it, or refuses the query or an encoded character.
            const resolved = resolveRequest(services, {
              service: operation.service.name,
              method: operation.method,
              target: request.target,
              headers: new Headers(),
            });
            if (resolved.outcome === "resolved" && resolved.rule !== null)
              expect(resolved.rule).toBe(operation.rule.source);
          },
        ),
        { numRuns },
      );
      expect(sent).toBeGreaterThan(0);
    });
});

describe("a described query", () => {
  const labels = operations.find(({ path }) => path === "/labels/{name}")!;
  it("has the parameters of its description, and no others", () => {
    expect(inputSchema(labels)).toMatchObject({
      properties: {
        query: { properties: { page: { type: "integer" } }, required: ["page"], additionalProperties: false },
      },
      required: ["name", "query"],
    });
    expect(toRequest(labels, { name: "a/b", query: { page: 2 } })).toEqual({
      target: "/labels/a%2Fb?page=2",
      body: undefined,
    });
    expect(toRequest(labels, { name: "x", query: { page: 1, admin: 1 } })).toEqual([
      { field: "query.admin", message: "is not a parameter of this operation. It has page" },
    ]);
    expect(toRequest(labels, { name: "x" })).toEqual([{ field: "query.page", message: "is required" }]);
    expect(toRequest(labels, { name: "x/admin", query: { page: 1 } })).toEqual([
      expect.objectContaining({ field: "name" }),
    ]);
  });
});
