import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { narrowMarkdown } from "../../scripts/narrow-markdown.ts";
import { coverageTable, presetList } from "../../scripts/vendor-groups.ts";
import { ERRORS } from "../../src/http/errors.ts";
import { explain } from "../../src/policy/explain.ts";
import type { HeaderRules } from "../../src/policy/header-rule.ts";
import { GENERAL_REQUEST_HEADERS } from "../../src/policy/request-headers.ts";
import { BUILT_IN_SERVICES, loadServices, type UpstreamSettings } from "../../src/policy/services.ts";
import { parseUpstream, upstreamSettings } from "../../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { readPage } from "./support/markdown.ts";
import { membersOfUnions, nodesOf } from "./support/source.ts";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const page = read("docs/gateway.md");
const markdown = readPage("docs/gateway.md");

/** The operator's example, whether it stands in a page or, behind `#`, in the settings. */
function judge(toml: string, method: string, path: string) {
  type Settings = { vars?: Record<string, unknown>; env?: { production: { vars: Record<string, unknown> } } };
  const { vars, env } = parse(toml) as Settings;
  const { upstreams, faults } = upstreamSettings(env?.production.vars ?? vars ?? {});
  const { services, catalogue, faults: more } = loadServices(upstreams, BUILT_IN_CATALOGUE);
  expect([...faults, ...more]).toEqual([]);
  return explain({ services, catalogue }, { service: "orders", method, path }).explanation.required;
}

describe("docs/gateway.md", () => {
  it("has the counts that the code has", SLOW, async () => {
    expect(page).toContain(`\n${coverageTable()}\n`);
    expect(page).toContain(`\n${await narrowMarkdown(`${presetList()}\n`)}`);
  });

  it("points the vendors' clients as the tests do", () => {
    const source = read("test/outside/support/vendor-clients.ts").trim();
    expect(markdown.code("ts")).toBe(source.replace("../../../src/client/index.ts", "agentauth/client"));
  });

  it("names the versions of the clients that the tests try", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
    const tried = markdown.section("Clients").rows.filter(([, , language]) => language === "JavaScript");
    const imported = [...read("test/outside/support/vendor-clients.ts").matchAll(/from "([@a-z][^"]*)"/g)].map(
      ([, name]) => name,
    );
    expect(tried.map(([name]) => name).toSorted()).toEqual(imported.toSorted());
    for (const [name = "", version] of tried) expect(version, name).toBe(devDependencies[name]);
  });

  it.each([
    ["the page", markdown.section("Your own upstreams").code("toml")],
    ["docs/configuration.md", readPage("docs/configuration.md").code("toml")],
    [
      "wrangler.toml",
      read("wrangler.toml")
        .match(/^# ?(?:\[vars\.UPSTREAMS|(?:\w+ = )).*$/gm)!
        .join("\n")
        .replace(/^# ?/gm, ""),
    ],
  ])("has an upstream that works: %s", (_, toml) => {
    expect(judge(toml, "GET", "/orders")).toBe("orders:orders:read");
    expect(judge(toml, "POST", "/orders")).toBe("orders:orders:write");
    expect(judge(toml, "DELETE", "/orders/7")).toBe("orders:orders:write");
    expect(judge(toml, "POST", "/orders/search")).toBe("orders:orders:read");
    expect(judge(toml, "GET", "/secrets")).toBeNull();
  });

  it("has an example of every credential that is sent, and each works", () => {
    const examples = markdown.section("Credentials").codes("toml");
    const schemes = examples.map((toml) => {
      const name = /^# upstreams\/([\w-]+)\.toml\n/.exec(toml)![1]!;
      const parsed = parseUpstream(name, parse(toml));
      expect(parsed, name).not.toBeInstanceOf(Array);
      const settings = parsed as UpstreamSettings;
      expect(loadServices(new Map([[name, settings]]), BUILT_IN_CATALOGUE).faults).toEqual([]);
      return settings.credential!.scheme;
    });
    const documented = markdown.section("Credentials").rows.flatMap(([scheme = "", , secrets]) => {
      return secrets === undefined ? [] : [/^`(\w+)`/.exec(scheme)?.[1]];
    });
    expect(new Set([...schemes, "bearer", "none"])).toEqual(new Set(documented));
  });

  it("shows what explain answers", SLOW, () => {
    const [, command = ""] = markdown.code("sh").replaceAll("\\\n", "").split("npm run --silent explain -- ");
    const args = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    const { stdout } = spawnSync("node", ["scripts/explain.ts", ...args], { cwd: ROOT, encoding: "utf8" });
    expect(JSON.parse(markdown.code("json"))).toEqual(JSON.parse(stdout));
  });

  it("names every code of a refusal", () => {
    const faults = membersOfUnions(nodesOf("src/policy"), /(?:Fault|Code)$/);
    const codes = Object.keys(ERRORS).filter((code) => /^upstream_|^credential_/.test(code));
    expect(faults).toContain("dot_segment");
    expect(codes).toContain("upstream_not_configured");
    for (const code of new Set([...faults, ...codes])) {
      expect(markdown.codeSpans, code).toContain(code);
    }
  });

  it("says what happens to every request header that a rule names", () => {
    const words = {
      ignore: "dropped and not named",
      drop: "dropped",
      refuse_write: "a write is refused",
      refuse: "refused",
    };
    const rowsOf = (service: string, rules: HeaderRules) =>
      Object.entries(rules).map(([header, { passes, otherwise }]) => [
        service,
        `\`${header}\``,
        passes !== undefined,
        words[otherwise],
      ]);
    const written = markdown
      .section("Request headers")
      .rows.map(([service = "", header = "", passes, otherwise = ""]) => [
        service,
        header,
        passes !== "no",
        otherwise.split(",")[0],
      ]);
    expect(written).toEqual([
      ...rowsOf("all", GENERAL_REQUEST_HEADERS),
      ...BUILT_IN_SERVICES.flatMap(({ name, requestHeaders = {} }) => rowsOf(name, requestHeaders)),
    ]);
  });

  it("names every service whose clients put their credential elsewhere", () => {
    const rows = markdown.section("Where the agent's token may be").rows.map(([service]) => service);
    const services = BUILT_IN_SERVICES.filter(({ tokenPlaces = [] }) => tokenPlaces.length > 0);
    expect(rows.toSorted()).toEqual([...services.map(({ name }) => name), "your own"].toSorted());
  });

  it("names every value that embeds, and every link that is rewritten or removed", () => {
    const { rows } = markdown.section("Links");
    for (const { name, embeds = {}, bodyLinks = [], removedLinks = [] } of BUILT_IN_SERVICES) {
      for (const [parameter, values] of Object.entries(embeds)) {
        const row = markdown.rows.find(([service, first]) => service === name && first === `\`${parameter}\``)?.[2];
        const aliases = (value: string) => name === "hubspot" && !value.endsWith("s");
        for (const value of Object.keys(values)) {
          if (value !== "*" && value !== "data" && !aliases(value)) expect(row, value).toContain(`\`${value}\``);
        }
      }
      const [, rewritten = "", removed = ""] = rows.find(([service]) => service === name) ?? [];
      for (const link of bodyLinks)
        expect(rewritten, name).toContain(`\`${link.replace(/^\//, "").replaceAll("/", ".")}\``);
      for (const link of removedLinks) {
        const thumbnails = link.startsWith("thumb_") ? "thumb_" : link;
        expect(removed, name).toContain(`\`${thumbnails}`);
      }
    }
  });
});
