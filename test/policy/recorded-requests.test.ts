import { describe, expect, it } from "vitest";
import { bodyTreatment, checkBody, type BodyRules } from "../../src/policy/body.ts";
import { REFUSED_PARAMETERS } from "../../src/policy/service-definition.ts";
import { watchNames } from "../../src/policy/parameter-name.ts";
import { parseQuery } from "../../src/policy/query.ts";
import { loadServices } from "../../src/policy/services.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import recorded from "./recorded-requests.json";

/** Requests in which PHP 8.2 or Rack 2.2 reads a watched name, as `npm run differential` recorded them (`RECORD=1`). */
const { queries, forms } = recorded;
const stripe = loadServices(new Map(), BUILT_IN_CATALOGUE).services.get("stripe")!.table();
const RULES: BodyRules = {
  forms: watchNames(REFUSED_PARAMETERS),
  keys: ["token", "associations"],
  isCovered: true,
  isFile: false,
};

describe("requests in which PHP or Rack reads a watched name", () => {
  it("are many", () => {
    expect([queries.length, forms.length]).toEqual([200, 300]);
  });

  it("do not pass as queries, but for parameters that embed and are counted", () => {
    for (const { query, read } of queries) {
      const reading = parseQuery(query, stripe.queryNames, stripe.embeds);
      if ("code" in reading) continue;
      expect(new Set(read.map((name) => name.toLowerCase())), query).toEqual(new Set(["expand"]));
    }
  });

  it("do not pass as forms", () => {
    for (const { contentType, body, read } of forms) {
      const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
      const treatment = bodyTreatment(new Headers({ "content-type": contentType }), RULES);
      expect(
        checkBody(bytes.buffer, treatment, RULES),
        `${read.join()} in ${contentType}\n${atob(body)}`,
      ).toHaveProperty("code");
    }
  });
});
