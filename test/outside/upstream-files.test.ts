import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type * as configModule from "../../src/config/config.ts";
import { ROOT } from "../../scripts/local.ts";
import { newSecrets } from "../../scripts/secrets.ts";
import { writeUpstreams } from "../../scripts/upstreams.ts";
import { SLOW } from "../support/extents.ts";

const ORDERS = `
# rules = ["a comment is no rule"]
base_url = "https://orders.example.com"
resources = { orders = ["read", "write"] }
rules = [
  "GET /orders orders",
  "* /orders/{id:int} orders",
]

[credential]
scheme = "header"
name = "X-Key"
`;

describe("the files of upstreams/", () => {
  let folder: string;
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "agentauth-upstreams-"))));
  afterEach(() => rmSync(folder, { recursive: true }));

  const file = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const compile = () => {
    const module = join(folder, ".out", "upstreams.js");
    return { faults: writeUpstreams(folder, module, join(ROOT, "wrangler.toml")), module };
  };

  it("are compiled into one module", async () => {
    file("orders.toml", ORDERS);
    file("zendesk.toml", 'base_url = "https://acme.zendesk.com"');
    file("README.md", "# Ours");
    const { faults, module } = compile();
    expect(faults).toEqual([]);
    const { default: compiled } = (await import(pathToFileURL(module).href)) as { default: unknown };
    expect(compiled).toEqual({
      orders: {
        base_url: "https://orders.example.com",
        resources: { orders: ["read", "write"] },
        rules: ["GET /orders orders", "* /orders/{id:int} orders"],
        credential: { scheme: "header", name: "X-Key" },
      },
      zendesk: { base_url: "https://acme.zendesk.com" },
    });
  });

  it("may be none", async () => {
    const { faults, module } = compile();
    expect(faults).toEqual([]);
    expect(await import(pathToFileURL(module).href)).toMatchObject({ default: {} });
  });

  it.each<[string, string, string]>([
    [
      "a misspelt key",
      ORDERS.replace("base_url", "base_uri"),
      "orders.toml:3: base_uri is an unknown key. Did you mean base_url?",
    ],
    [
      "a rule that cannot be read",
      ORDERS.replace("GET /orders", "FETCH /orders"),
      'orders.toml:6: rules[0] rule "FETCH /orders',
    ],
    [
      "a limit at a rule that does not name the object",
      ORDERS.replace("[credential]", '[limits."path.id"]\nalone = ["GET /orders orders"]\n\n[credential]'),
      'orders.toml:11: limits."path.id".alone[0] the rule "GET /orders orders" has no parameter id.',
    ],
    [
      "two rules that overlap",
      ORDERS.replace("{id:int}", "{id}").replace("]\n\n", '  "GET /orders/new orders:write",\n]\n\n'),
      "orders.toml:8: rules[2] the rules",
    ],
    ["a wrong header", ORDERS.replace("X-Key", "Host"), "orders.toml:12: credential.name must be a header"],
    [
      "a missing key",
      ORDERS.replace(/rules = \[[^\]]*\]\n\n/, ""),
      "orders.toml:1: base_url, resources and rules are all needed.",
    ],
    ["a value of another kind", `timeout_ms = "1s"\n${ORDERS}`, "orders.toml:1: timeout_ms must be a number."],
    [
      "broken TOML",
      ORDERS.replace('"https://orders.example.com"', "https:"),
      "orders.toml:3: is not valid TOML (column 12): ",
    ],
  ])("are refused with the file, the line and the key for %s", (_, text, expected) => {
    file("orders.toml", text);
    const { faults, module } = compile();
    expect(faults.join("\n")).toContain(`upstreams/${expected}`);
    expect(existsSync(module)).toBe(false);
  });

  it("are refused under a name that no URL has, and in another format", () => {
    file("My Orders.toml", ORDERS);
    file("orders.yaml", "");
    expect(compile().faults).toEqual([
      "upstreams/My Orders.toml:1: a name is lower-case letters, digits, _ and -.",
      "upstreams/orders.yaml: is not read. Call it NAME.toml, or move it out of this folder.",
    ]);
  });

  it("are all reported at once", () => {
    file("orders.toml", ORDERS.replace("base_url", "base_uri").replace("X-Key", "Host"));
    file("stock.toml", ORDERS.replace("GET /orders", "GET orders"));
    expect(compile().faults.map((fault) => fault.split(" ", 2).join(" "))).toEqual([
      "upstreams/orders.toml:12: credential.name",
      "upstreams/orders.toml:3: base_uri",
      "upstreams/stock.toml:6: rules[0]",
    ]);
  });

  it.each<[string, string, string]>([
    [
      "a misspelt key",
      ORDERS.replace("base_url", "base_uri"),
      "wrangler.toml:6: vars.UPSTREAMS.orders.base_uri is an unknown key. Did you mean base_url?",
    ],
    [
      "two rules that overlap",
      ORDERS.replace("{id:int}", "{id}").replace("]\n\n", '  "GET /orders/new orders:write",\n]\n\n'),
      "wrangler.toml:11: vars.UPSTREAMS.orders.rules[2] the rules",
    ],
    [
      "more than a variable holds",
      ORDERS.replace("GET /orders orders", `GET /${"x".repeat(5200)} orders`),
      "wrangler.toml:3: vars.UPSTREAMS has 53",
    ],
    [
      "a second declaration",
      ORDERS,
      "wrangler.toml:3: vars.UPSTREAMS.orders is declared by upstreams/orders.toml as well.",
    ],
  ])("declare the same as variables, which are refused with the line and the key for %s", (what, text, expected) => {
    if (what === "a second declaration") file("orders.toml", ORDERS);
    const config = join(folder, ".out", "wrangler.toml");
    mkdirSync(join(folder, ".out"));
    const [top = "", credential = ""] = text.split("[credential]");
    writeFileSync(
      config,
      `[vars]\nISSUER = ""\n[vars.UPSTREAMS.orders]\n${top}[vars.UPSTREAMS.orders.credential]${credential}`,
    );
    const run = () => writeUpstreams(folder, join(folder, ".out", "upstreams.js"), config).join("\n");
    expect(run()).toContain(expected);
    writeFileSync(
      config,
      readFileSync(config, "utf8").replace("[vars]", "[env.staging.vars]").replaceAll("[vars.", "[env.staging.vars."),
    );
    expect(run()).toContain(expected.replace("vars.", "env.staging.vars."));
  });

  it("end the command that compiles them with their faults, and nothing is written", SLOW, () => {
    file("orders.toml", ORDERS.replace("base_url", "base_uri"));
    const module = join(folder, ".out", "upstreams.js");
    const { status, stderr } = spawnSync(process.execPath, ["scripts/upstreams.ts", folder, module], {
      cwd: ROOT,
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([1, expect.stringContaining("upstreams/orders.toml:3: base_uri")]);
    expect(existsSync(module)).toBe(false);
  });

  it("are what the Worker serves: the module is the one that its bundle imports", SLOW, async () => {
    file("orders.toml", ORDERS);
    const { module } = compile();
    const { imports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      imports: Record<string, { workerd: string }>;
    };
    expect(imports["#upstreams"]?.workerd).toBe("./dist/upstreams.js");
    const bundle = join(folder, ".out", "config.mjs");
    const entryPoints = [join(ROOT, "src/config/config.ts")];
    await build({ entryPoints, bundle: true, outfile: bundle, format: "esm", alias: { "#upstreams": module } });
    const { loadConfig } = (await import(pathToFileURL(bundle).href)) as typeof configModule;
    const { catalogue } = loadConfig({ ENVIRONMENT: "development", ...newSecrets() });
    expect(catalogue.orders).toEqual({ orders: ["read", "write"] });
  });
});
