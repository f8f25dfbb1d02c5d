import { describe, expect, it } from "vitest";
import { missingPermissions } from "../../src/permissions/match.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import type { Rule } from "../../src/policy/rule.ts";

/** What one decision costs, in microseconds: generous bounds, since other work may share the machine. */
const upstream = (count: number) => ({
  base_url: "https://many.example",
  resources: { things: ["read", "write"] },
  rules: Array.from({ length: count }, (_, i) => `* /section-${i}/{id}/part-${i} things`),
});
const { services, catalogue } = loadServices(
  new Map([
    ["few", upstream(10)],
    ["many", upstream(2000)],
  ]),
  BUILT_IN_CATALOGUE,
);

const example = ({ segments }: Rule) =>
  segments
    .map((matcher) =>
      matcher.kind === "literal" ? matcher.text : matcher.kind === "choice" ? matcher.texts[0] : "12345",
    )
    .map((text) => `/${text}`)
    .join("");

function cost(service: string): number {
  const requests = services
    .get(service)!
    .table()
    .rules.flatMap((rule) =>
      rule.methods.map((method) => ({ service, method, target: `${example(rule)}?page=2`, headers })),
    );
  const grants = new Set([`${service}:issues:read`, `${service}:repos:*`, `${service}:things:read`]);
  const rounds = Math.ceil(200_000 / requests.length);
  let began = 0;
  for (let round = -Math.ceil(rounds / 10); round < rounds; round++) {
    if (round === 0) began = performance.now();
    for (const request of requests) {
      const resolved = resolveRequest(services, request);
      if (resolved.outcome === "resolved") missingPermissions(resolved.required, grants, catalogue);
    }
  }
  return ((performance.now() - began) * 1000) / (rounds * requests.length);
}
const headers = new Headers();

describe("a decision", () => {
  it("costs microseconds, however many rules there are", { tags: ["slow"] }, () => {
    const [github, few, many] = [cost("github"), cost("few"), cost("many")];
    console.info(`GitHub ${github.toFixed(2)} µs; 10 rules ${few.toFixed(2)} µs, 2,000 rules ${many.toFixed(2)} µs`);
    expect(github).toBeLessThan(15);
    expect(many).toBeLessThan(few * 5 + 2);
  });
});
