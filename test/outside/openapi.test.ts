import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { describe, expect, it } from "vitest";
import { ROUTES } from "../../src/app.ts";

const file = join(import.meta.dirname, "../../public/openapi.json");
const source = readFileSync(file, "utf8");
const document = JSON.parse(source) as { openapi: string; paths: Record<string, Record<string, unknown>> };

describe("public/openapi.json", () => {
  it("is clean to a public linter", async () => {
    const config = await createConfig({ extends: ["recommended"] });
    const problems = await lintFromString({ source, absoluteRef: "openapi.json", config });
    expect(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([]);
  });

  it("describes every route and nothing else but the gateway", () => {
    expect(document.openapi).toBe("3.1.0");
    const described = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((key) => key !== "parameters")
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect(described.filter((one) => !one.includes("{service}")).toSorted()).toEqual(routes.toSorted());
  });
});
