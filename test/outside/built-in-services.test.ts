import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SERVICES } from "../../scripts/operations.ts";
import { coverageTable, differing, RESOURCES } from "../../scripts/vendor-groups.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { readPage } from "./support/markdown.ts";

/** What a built-in service needs beside its rules. Each failure says which file lacks what. */
const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
/** The cells of the rows below a header. */
const rows = (file: string, header: string): string[][] => {
  const [, table = ""] = read(file).split(`\n${header}\n`);
  return table
    .split(/\n(?!\|)/)[0]!
    .split("\n")
    .slice(1)
    .map((row) => row.slice(1, -1).split("|"))
    .map((cells) => cells.map((cell) => cell.trim().replaceAll("`", "")));
};
const rowOf = (service: string, file: string, header: string) =>
  rows(file, header).find(([names = ""]) => names.split(", ").includes(service));

describe.each(SERVICES)("%s", (service) => {
  it("has an operations file whose lines all say what the gateway takes them for", () => {
    const advice = `A line is "METHOD /path | group | permission". \`npm run coverage -- --classify ${service}\` adds the permissions.`;
    const malformed = read(`vendor/operations/${service}.txt`)
      .split("\n")
      .filter((line) => line !== "" && !/^[A-Z]+ \/\S* \| .+ \| \S.*$/.test(line));
    expect(malformed, advice).toEqual([]);
  });

  it("says where its operations come from", () => {
    const source = rowOf(service, "vendor/README.md", "| service | source |")?.[1];
    expect(source, `Say in vendor/README.md where the operations of ${service} come from.`).toBeTruthy();
  });

  it("has the vendor's group of each of its resources", () => {
    const resources = Object.keys((BUILT_IN_CATALOGUE as Record<string, object>)[service]!);
    const grouped = Object.values(RESOURCES[service] ?? {});
    const without = resources.filter((resource) => !grouped.includes(resource));
    expect(without, `Name the vendor's groups of these resources in RESOURCES of scripts/vendor-groups.ts.`).toEqual(
      [],
    );
  });

  it("names its secrets in docs/gateway.md and in docs/configuration.md", () => {
    const secrets = rowOf(service, "docs/gateway.md", "| service | secrets |")?.[1];
    expect(secrets, `Name the secrets of ${service} in docs/gateway.md, "Credentials".`).toBeTruthy();
    const row = rowOf(service, "docs/configuration.md", "| service | secrets | base URL |");
    expect(row?.[2], `Name the secrets and the base URL of ${service} in docs/configuration.md.`).toBeTruthy();
  });

  it("explains in docs/gateway.md where its rules differ from the vendor's groups", () => {
    const named = readPage("docs/gateway.md")
      .section("What is covered")
      .rows.some((row) => row[0] === service && row.length < 4);
    const operations = differing(service).map(({ method, path }) => `${method} ${path}`);
    const advice = `Explain these operations of ${service} in docs/gateway.md, "What is covered".`;
    expect(named ? [] : operations, advice).toEqual([]);
  });
});

it("docs/gateway.md has the counts of the operations files", () => {
  const file = "docs/gateway.md";
  const current = read(file).includes(`\n${coverageTable()}\n`);
  expect(current, `The table of operations in ${file} is not current. Run \`npm run coverage -- --write\`.`).toBe(true);
});
