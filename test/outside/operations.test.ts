import { describe, expect, it } from "vitest";
import { classify, classifyWithPresets, presetsOf, readOperations, SERVICES } from "../../scripts/operations.ts";
import { SLOW } from "../support/extents.ts";

/** The least number of operations that a file holds: half a file would pass otherwise. */
const MIN_OPERATIONS: Record<string, number> = {
  zendesk: 250,
  slack: 500,
  hubspot: 750,
  github: 1200,
  salesforce: 180,
  stripe: 600,
};

/** The resource that a preset gives for an operation, by the vendor's group and path. Independent of the presets' rules. */
const OF_PRESETS: Record<string, [group: RegExp, path: RegExp, resource: string][]> = {
  zendesk: [
    [/^attachments$/, /^\/api\/v2\/uploads/, "uploads"],
    [/^ticket_(?:fields|forms)$/, /^/, "ticket_fields"],
  ],
  slack: [
    [/^reactions$/, /^/, "reactions"],
    [/^users$/, /^/, "users"],
    [/^auth$/, /auth\.test$/, "auth"],
  ],
  hubspot: [
    [/^notes$/, /^/, "notes"],
    [/^crm$/, /^\/crm\/v3\/properties\//, "properties"],
    [/^crm$/, /^\/crm\/v3\/pipelines\/deals/, "pipelines"],
    [/^crm$/, /^\/crm\/v3\/owners/, "owners"],
  ],
  github: [
    [/^pulls\//, /^/, "pull_requests"],
    [/^reactions\/reactions$/, /\/pulls\//, "pull_requests"],
    [/^checks\//, /^/, "checks"],
    [/^commits\/statuses$/, /^/, "statuses"],
    [/^actions\/(?:workflow-runs|workflow-jobs|workflows|artifacts)$/, /^\/repos\//, "workflow_runs"],
  ],
  salesforce: [
    [/^Contact$/, /^/, "contacts"],
    [/^Opportunity$/, /^/, "opportunities"],
  ],
  stripe: [
    [/^subscription(?:s|_items)$/, /^/, "subscriptions"],
    [/^refunds$/, /^/, "refunds"],
    [/^(?:products|prices)$/, /^/, "products"],
    [/^balance(?:_transactions)?$/, /^/, "balance"],
  ],
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

  it("is taken for what was reviewed with every preset turned on, which only cover more, and of the vendor's own group", () => {
    const differing = operations.filter((one) => classifyWithPresets(service, one) !== one.withPresets);
    expect(differing).toEqual([]);
    const covered = operations.filter((one) => one.withPresets !== one.classification);
    expect(covered.length > 0).toBe(presetsOf(service).length > 0);
    const strange = covered.filter(({ method, path, group, classification, withPresets }) => {
      const resource = OF_PRESETS[service]?.find(([of, at]) => of.test(group) && at.test(path))?.[2];
      const reads = method === "GET" || /\/(?:search|batch\/read)$/.test(path);
      const action = withPresets.includes(":write") ? "write" : "read";
      const first = withPresets.split("+")[0];
      return (
        classification !== "uncovered" ||
        first !== `${service}:${resource}:${action}` ||
        (action === "read") !== (service === "slack" ? !/\.(?:add|remove)$/.test(path) : reads)
      );
    });
    expect(strange).toEqual([]);
  });

  // Of the vendors with many operations it takes seconds.
  const options = operations.length > 800 || service === "zendesk" ? SLOW : {};
  it("cannot be reached by a path that becomes it once its %2F are decoded", options, () => {
    const hidden = operations.flatMap(({ method, path, classification, withPresets }) =>
      [...path.matchAll(/(?<=.)\//g)].flatMap(({ index }) => {
        const parts = [
          `${path.slice(0, index)}%2F${path.slice(index + 1)}`,
          path.slice(0, index) + path.slice(index).replaceAll("/", "%2F"),
        ];
        return parts.flatMap((one) =>
          [
            { path: one, taken: classify(service, { method, path: one }), expected: classification },
            { path: one, taken: classifyWithPresets(service, { method, path: one }), expected: withPresets },
          ].filter(({ taken, expected }) => !taken.startsWith("refused") && taken !== expected),
        );
      }),
    );
    expect(hidden).toEqual([]);
  });

  it("writes with writing permissions only, but for reads that carry a body", () => {
    const reading = operations.filter(
      ({ method, withPresets }) =>
        !["GET", "HEAD"].includes(method) && /:read/.test(withPresets) && !/:write/.test(withPresets),
    );
    const expected = /\/search$|\/batch\/read$|\/autocomplete$|^\/api\/(auth|chat|conversations|reactions|users)\./;
    expect(reading.filter(({ path }) => !expected.test(path))).toEqual([]);
  });
});
