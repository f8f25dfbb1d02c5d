import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { describe, expect, it } from "vitest";
import { ROUTES } from "../../src/app.ts";
import { SLOW } from "../support/extents.ts";

const file = join(import.meta.dirname, "../../public/openapi.json");
const source = readFileSync(file, "utf8");
const document = JSON.parse(source) as { openapi: string; paths: Record<string, Record<string, unknown>> };

describe("public/openapi.json", () => {
  it("is clean to a public linter", SLOW, async () => {
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
    expect(described.filter((one) => !one.includes("/proxy/{service}/{path}")).toSorted()).toEqual(routes.toSorted());
  });
});

describe("/docs", () => {
  const ROOT = join(import.meta.dirname, "../..");
  const read = (name: string) => readFileSync(join(ROOT, name), "utf8");

  it("loads what is there, and nothing from elsewhere", () => {
    const viewer = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
    const loaded = [...read("public/docs.html").matchAll(/<(?:script|link)\b[^>]*?(?:src|href)="([^"]+)"/g)].map(
      ([, to]) => to!,
    );
    expect(loaded.length).toBeGreaterThanOrEqual(3);
    for (const to of loaded.filter((one) => one !== "data:,")) {
      expect(to).toMatch(/^\/docs\/[\w.-]+$/);
      const file = to.slice("/docs/".length);
      const gathered = read("scripts/assets.ts").includes(`"${file}"`) && existsSync(join(viewer, file));
      expect({ to, there: gathered || existsSync(join(ROOT, "public", to)) }).toEqual({ to, there: true });
    }
    expect(read("public/docs/reference.js")).toContain('url: "/openapi.json"');
    expect(read("public/_headers")).toMatch(
      /^\/docs\*\n\s+Content-Security-Policy: default-src 'none'; script-src 'self';/m,
    );
  });
});
