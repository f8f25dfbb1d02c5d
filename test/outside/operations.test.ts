import { describe, expect, it } from "vitest";
import { classify, readOperations, SERVICES } from "../../scripts/operations.ts";

/** The least number of operations that a file holds: half a file would pass otherwise. */
const MIN_OPERATIONS: Record<string, number> = {
  zendesk: 250,
  slack: 500,
  hubspot: 750,
  github: 1200,
  salesforce: 180,
  stripe: 600,
};

describe.each(SERVICES)("every operation that %s publishes", (service) => {
  const operations = readOperations(service);

  it("is taken for what was reviewed, and for nothing more", () => {
    const least = MIN_OPERATIONS[service] ?? Infinity;
    const advice = `List every operation in vendor/operations/${service}.txt as "METHOD /path | group", run \`npm run coverage -- --classify ${service}\`, and write their least number here.`;
    expect(operations.length, advice).toBeGreaterThanOrEqual(least);
    const differing = operations
      .map((one) => ({ ...one, now: classify(service, one) }))
      .filter(({ classification, now }) => classification !== now)
      .map(({ method, path, classification, now }) => `${method} ${path}: reviewed as ${classification}, is ${now}`);
    expect(differing).toEqual([]);
  });

  it("cannot be reached by a path that becomes it once its %2F are decoded", () => {
    const hidden = operations.flatMap(({ method, path, classification }) =>
      [...path.matchAll(/(?<=.)\//g)].flatMap(({ index }) => {
        const parts = [
          `${path.slice(0, index)}%2F${path.slice(index + 1)}`,
          path.slice(0, index) + path.slice(index).replaceAll("/", "%2F"),
        ];
        return parts
          .map((one) => ({ method, path: one, taken: classify(service, { method, path: one }) }))
          .filter(({ taken }) => !taken.startsWith("refused") && taken !== classification);
      }),
    );
    expect(hidden).toEqual([]);
  });

  it("writes with writing permissions only, but for reads that carry a body", () => {
    const reading = operations.filter(
      ({ method, classification }) =>
        !["GET", "HEAD"].includes(method) && /:read/.test(classification) && !/:write/.test(classification),
    );
    const expected = /\/search$|\/batch\/read$|\/autocomplete$|^\/api\/(chat|conversations)\./;
    expect(reading.filter(({ path }) => !expected.test(path))).toEqual([]);
  });
});
