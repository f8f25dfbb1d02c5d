import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseYaml } from "@redocly/openapi-core";
import { afterAll, describe, expect, it } from "vitest";
import { importOpenApi } from "../../scripts/import-openapi.ts";
import { ROOT } from "../../scripts/local.ts";
import { readOperations } from "../../scripts/operations.ts";
import { compileUpstreams } from "../../scripts/upstreams.ts";
import { upstreamSettings } from "../../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { explain } from "../../src/policy/explain.ts";
import { loadServices } from "../../src/policy/services.ts";
import { SLOW } from "../support/extents.ts";

const parent = mkdtempSync(join(tmpdir(), "agentauth-import-"));
const folder = join(parent, "upstreams");
afterAll(() => rmSync(parent, { recursive: true }));
const inPackage = (name: string, file: string) =>
  join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), file);

/** GitHub's public description, as far as it says which operations there are. */
function githubDescription(): string {
  const paths: Record<string, Record<string, object>> = {};
  for (const { method, path, group } of readOperations("github")) {
    const tags = [group.split("/")[0]!];
    (paths[path] ??= {})[method.toLowerCase()] = { tags, responses: {} };
  }
  const file = join(parent, "github.json");
  const servers = [{ url: "https://api.github.com" }];
  writeFileSync(file, JSON.stringify({ openapi: "3.1.0", info: { title: "GitHub REST" }, servers, paths }));
  return file;
}

const DESCRIPTIONS: [name: string, file: string, operations: number][] = [
  ["stapi", inPackage("@readme/oas-examples", "3.0/json/star-trek.json"), 120],
  ["blockfrost", inPackage("@blockfrost/openapi", "openapi.yaml"), 129],
  ["git_hub_rest", githubDescription(), 1223],
];

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const run = (...args: string[]) =>
  spawnSync(process.execPath, ["scripts/upstream.ts", ...args, "--folder", folder], { cwd: ROOT, encoding: "utf8" });

describe.each(DESCRIPTIONS)("the description of %s", (name, file, count) => {
  const text = readFileSync(file, "utf8");
  const description = (text.startsWith("{") ? JSON.parse(text) : parseYaml(text)) as {
    paths: Record<string, Record<string, { tags?: string[] }>>;
  };
  const operations = Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method.toLowerCase()]).map((method) => ({ method, path })),
  );

  it(
    "becomes an upstream of which each operation needs the permission that it was given, and no other method passes",
    SLOW,
    () => {
      expect(operations.length).toBeGreaterThanOrEqual(count);
      const { status, stdout, stderr } = run("import", file, "--name", name);
      expect([status, stderr]).toEqual([0, ""]);
      const { files, faults } = compileUpstreams(folder);
      expect(faults).toEqual([]);
      const { upstreams } = upstreamSettings({}, files);
      const loaded = loadServices(upstreams, BUILT_IN_CATALOGUE);
      expect(loaded.faults).toEqual([]);

      const { covered, left } = importOpenApi(description);
      expect(covered.length + left.length).toBe(operations.length);
      expect(stdout).toContain(`${covered.length} operations`);
      for (const { operation, reason } of left) expect(stdout).toContain(`left out: ${operation}: ${reason}`);
      expect(left.length).toBeLessThan(operations.length / 20);

      const permissions = new Map(covered.map((one) => [`${one.method} ${one.path}`, one.permission]));
      const described = new Map<string, Set<string>>();
      for (const { method, path } of operations) described.set(path, (described.get(path) ?? new Set()).add(method));
      const wrong: string[] = [];
      for (const path of described.keys()) {
        const sample = sampleOf(path, description.paths[path]!);
        // A path whose example is a word of another one is described by both.
        const alike = [...described].filter(([other]) => couldBe(other, sample));
        for (const method of METHODS) {
          const { explanation } = explain(loaded, { service: name, method, path: sample });
          const needed = explanation.required;
          const expected = permissions.get(`${method} ${path}`);
          // What was left out, or has another method, may be what another path describes.
          const others = alike.filter(([other, its]) => other !== path && its.has(method)).map(([other]) => other);
          const allowed = others.map((other) => permissions.get(`${method} ${other}`)).map((one) => `${name}:${one}`);
          const isRight =
            expected === undefined ? needed === null || allowed.includes(needed) : needed === `${name}:${expected}`;
          if (!isRight) {
            wrong.push(`${method} ${sample} needs ${needed}, not ${expected}`);
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});

/** A path with a value for each parameter, by its schema. */
function sampleOf(path: string, item: object): string {
  const parameters = JSON.stringify(item);
  return path.replace(/\{([^{}]*)\}/g, (_, parameter: string) => {
    const [, words] = new RegExp(`"name":"${parameter}","in":"path"[^}]*"enum":\\["([^"]+)"`).exec(parameters) ?? [];
    return words ?? "1234";
  });
}

/** Whether a path of a description could be this one: each segment is the same, or has a parameter. */
function couldBe(path: string, sample: string): boolean {
  const [ours, theirs] = [path.split("/"), sample.split("/")];
  return ours.length === theirs.length && ours.every((segment, at) => segment === theirs[at] || segment.includes("{"));
}

describe("an import", () => {
  const importOf = (paths: object, more: object = {}) => importOpenApi({ openapi: "3.1.0", paths, ...more });
  const get = (tag: string, parameters: object[] = []) => ({ get: { tags: [tag], parameters } });
  const inPath = (name: string, schema: object) => ({ name, in: "path", required: true, schema });

  it("gives parameters the types of their schemas, and reads with GET and HEAD", () => {
    const { rules, resources } = importOf({
      "/orders/{id}": {
        ...get("Orders", [inPath("id", { type: "integer" })]),
        delete: { tags: ["Orders"] },
        parameters: [inPath("id", { type: "string", format: "uuid" })],
      },
      "/orders/{order-id}/lines.{format}": {
        head: { tags: ["OrderLines"], parameters: [inPath("format", { enum: ["json", "csv"] })] },
      },
      "/Customers({key})/": get("customers 2"),
    });
    expect(rules).toEqual([
      "GET /orders/{id:int} orders:read",
      "DELETE /orders/{id:uuid} orders:write",
      "HEAD /orders/{order_id}/lines.{format:json|csv} order_lines:read",
      "GET /Customers({key})/ customers_2:read",
    ]);
    expect(resources).toEqual({ orders: ["read", "write"], order_lines: ["read"], customers_2: ["read"] });
  });

  it("leaves words out of parameters, and out of both where two paths cross", () => {
    expect(importOf({ "/a/{id}": get("a"), "/a/search": get("b"), "/a/count": get("a") }).rules).toEqual([
      "GET /a/{id!search|count} a:read",
      "GET /a/search b:read",
      "GET /a/count a:read",
    ]);
    expect(importOf({ "/a/{x}/b": get("one"), "/a/c/{y}": get("two") }).rules).toEqual([
      "GET /a/{x!c}/b one:read",
      "GET /a/c/{y!b} two:read",
    ]);
  });

  it("lists what cannot be a rule, with the reason", () => {
    const { rules, left } = importOf({
      "/a/{x}": get("one"),
      "/a/{y}": get("two"),
      "/b/{x}-{y}": get("one"),
      "/c/{x}{y}": get("one"),
      "/d//e": get("one"),
      "/f/a b": get("one"),
      "/g": { options: { tags: ["one"] }, trace: {}, get: { tags: ["one"] } },
    });
    expect(rules).toEqual(["GET /g one:read"]);
    expect(left.map(({ operation, reason }) => `${operation}: ${reason}`)).toEqual([
      'GET /b/{x}-{y}: the segment "{x}-{y}" has more than one parameter',
      'GET /c/{x}{y}: the segment "{x}{y}" has more than one parameter',
      expect.stringContaining('GET /d//e: the segment "" is neither'),
      expect.stringContaining("GET /f/a b: "),
      "OPTIONS /g: the gateway does not forward this method",
      "TRACE /g: the gateway does not forward this method",
      "GET /a/{y}: the same requests are GET /a/{x}",
      "GET /a/{x}: the same requests are GET /a/{y}",
    ]);
  });

  it("leaves out what would also reach an operation that cannot be a rule, unless it needs the same", () => {
    const { rules, left } = importOf({
      "/a/{x}": get("one"),
      "/a/{x}-{y}": get("two"),
      "/b/{x}": get("one"),
      "/b/{x}...{y}": get("one"),
    });
    expect(rules).toEqual(["GET /b/{x} one:read"]);
    expect(left).toContainEqual({ operation: "GET /a/{x}", reason: "would match /a/{x}-{y} as well" });
  });

  it("takes the credential and the address from the description, and references within it", () => {
    const { credential, baseUrl, rules } = importOf(
      { "/a/{id}": { $ref: "#/components/pathItems/a~1b" } },
      {
        servers: [{ url: "https://{region}.example.com/v1/", variables: { region: { default: "eu" } } }],
        security: [{ key: [] }],
        components: {
          securitySchemes: {
            other: { type: "http", scheme: "basic" },
            key: { type: "apiKey", in: "header", name: "X-Key" },
          },
          pathItems: { "a/b": get("a", [{ $ref: "#/components/parameters/id" } as object]) },
          parameters: { id: inPath("id", { type: "integer" }) },
        },
      },
    );
    expect([credential, baseUrl, rules]).toEqual([
      { scheme: "header", name: "X-Key" },
      "https://eu.example.com/v1",
      ["GET /a/{id:int} a:read"],
    ]);
  });

  it("of one tag takes its operations only, and overwrites nothing unasked", SLOW, () => {
    const [, file] = DESCRIPTIONS[0]!;
    const once = () => run("import", file, "--name", "animals", "--tag", "Animal");
    const { status, stdout } = once();
    expect([status, stdout]).toEqual([0, expect.stringContaining("animals.toml: 3 operations, 1 resources.")]);
    expect(once().stderr).toContain("is there already: give --force to overwrite it.");
    expect(readFileSync(join(folder, "animals.toml"), "utf8")).toContain('"GET /animal animal:read"');
  });

  it.each<[string, unknown, string]>([
    ["another format", { swagger: "2.0" }, "This is not an OpenAPI 3 description"],
    ["nothing", null, "This is not an OpenAPI 3 description"],
    ["another file's parts", { openapi: "3.0.0", paths: { "/a": { $ref: "b.yaml" } } }, "bundle the description first"],
  ])("of %s says what is wrong", (_, description, expected) => {
    expect(() => importOpenApi(description)).toThrow(expected);
  });

  it.each<[string, string, string[], string]>([
    ["broken YAML", "a: [", [], "x.yaml: "],
    ["no address", '{"openapi":"3.0.0","paths":{"/a":{"get":{}}}}', ["--name", "x"], "give --base-url"],
    ["a built-in service", '{"openapi":"3.0.0","paths":{}}', ["--name", "github"], "github is a built-in service"],
  ])("of %s says what to do", SLOW, (_, content, args, expected) => {
    const file = join(parent, "x.yaml");
    writeFileSync(file, content);
    const { status, stderr } = run("import", file, ...args);
    expect([status, stderr]).toEqual([1, expect.stringContaining(expected)]);
  });
});
