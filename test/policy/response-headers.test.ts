import { expect, it } from "vitest";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { responseHeaderName } from "../../src/policy/response-headers.ts";
import { loadServices } from "../../src/policy/services.ts";

const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);
const definition = {
  ...services.get("github")!.definition,
  responseHeaders: ["activate-storage-access", "shop-*", "mine"],
  hiddenResponseHeaders: ["x-hidden"],
};

it.each<[string, string | undefined]>([
  ["content-type", "content-type"],
  ["etag", "etag"],
  ["x-mine", "x-mine"],
  ["order-count", "order-count"],
  ["mine", "mine"],
  ["mine2", undefined],
  ["shop-total-price", "shop-total-price"],
  ["shop", undefined],
  ["unknown", undefined],
  ["x-hidden", undefined],
  ["set-cookie", undefined],
  ["x-csrf-token", undefined],
  ["activate-storage-access", undefined],
  ["x-agentauth-dropped", undefined],
  ["x-request-id", "x-upstream-request-id"],
  ["ratelimit-policy", "x-upstream-ratelimit-policy"],
])("the header %s of an answer is %s to the agent, the first time and later", (name, passed) => {
  // What is known of a name is remembered with the definition.
  const own = { ...definition };
  for (let time = 0; time < 2; time++) expect(responseHeaderName(name, own)).toBe(passed);
});
