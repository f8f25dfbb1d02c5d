import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE as catalogue, listService } from "../../src/permissions/catalogue.ts";
import { validatePermission } from "../../src/permissions/grammar.ts";

const everything = Object.keys(catalogue).flatMap((service) => listService(catalogue, service));

describe("what can be granted", () => {
  it("takes every permission of the catalogue and the three wildcards", () => {
    const wildcards = ["*:*:*", "github:*:*", "github:issues:*", "stripe:payments:*"];
    for (const permission of [...everything, ...wildcards])
      expect(validatePermission(permission, catalogue)).toBeUndefined();
  });

  it.each([
    ["*:tickets:read", "service wildcard"],
    ["zendesk:*:read", "Name the resource"],
    ["*:*:read", "service wildcard"],
    ["zendesk", "three parts"],
    ["zendesk:tickets", "three parts"],
    ["zendesk:tickets:read:more", "three parts"],
    ["zendesk::read", "three parts"],
    ["", "three parts"],
    ["Zendesk:tickets:read", "lower-case"],
    ["zendesk:tickets:read ", "lower-case"],
    ["zendesk:tickets:délete", "lower-case"],
    ["jira:issues:read", "no service jira"],
    ["zendesk:invoices:read", "no resource invoices"],
    ["zendesk:invoices:*", "no resource invoices"],
    ["stripe:payments:write", "read only"],
    ["github:pull_requests:write", "read only"],
    ["__proto__:tickets:read", "lower-case"],
    ["constructor:tickets:read", "no service constructor"],
    ["github:constructor:read", "no resource constructor"],
    ["github:tostring:*", "no resource tostring"],
  ])("refuses %j and says why", (permission, reason) => {
    expect(validatePermission(permission, catalogue)).toContain(reason);
  });

  it("takes nothing that is not of the catalogue, whatever the text", () => {
    const part = fc.oneof(fc.constantFrom("*", "github", "issues", "read", "write", "stripe", "payments"), fc.string());
    const text = fc.oneof(
      fc.string(),
      fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(":")),
    );
    fc.assert(
      fc.property(text, (permission) => {
        if (validatePermission(permission, catalogue) !== undefined) return;
        const known =
          permission === "*:*:*" ||
          everything.includes(permission) ||
          everything.some((one) => permission === `${one.split(":")[0]}:*:*`) ||
          everything.some((one) => permission === `${one.split(":").slice(0, 2).join(":")}:*`);
        expect(known).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
