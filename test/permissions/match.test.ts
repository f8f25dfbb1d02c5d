import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE as catalogue, listService } from "../../src/permissions/catalogue.ts";
import { missingPermissions, intersectPermissions, isGranted, waysToGrant } from "../../src/permissions/match.ts";

const services = Object.keys(catalogue);
const concrete = services.flatMap((service) => listService(catalogue, service));
const wildcards = [
  "*:*:*",
  ...services.map((service) => `${service}:*:*`),
  ...new Set(concrete.map((permission) => `${permission.split(":").slice(0, 2).join(":")}:*`)),
];
const grant = fc.constantFrom(...concrete, ...wildcards);
const grants = fc.array(grant, { maxLength: 6 });
const required = fc.constantFrom(
  ...concrete,
  ...services.map((service) => `${service}:*:*`),
  "github:pull_requests:write",
);

const reached = (held: readonly string[], permission: string) => isGranted(new Set(held), permission, catalogue);

describe("what a grant reaches", () => {
  it.each([
    ["github:issues:read", "github:issues:read", true],
    ["github:issues:write", "github:issues:read", false],
    ["github:issues:*", "github:issues:write", true],
    ["github:pull_requests:*", "github:pull_requests:read", true],
    ["github:pull_requests:*", "github:pull_requests:write", false],
    ["github:*:*", "github:pull_requests:write", true],
    ["github:*:*", "github:*:*", true],
    ["github:repos:*", "github:*:*", false],
    ["*:*:*", "github:*:*", true],
    ["*:*:*", "*:*:*", true],
    ["github:*:*", "*:*:*", false],
    ["github:*:*", "stripe:payments:read", false],
    ["github:issues:read", "github:issues:*", false],
  ])("%s reaches %s: %s", (held, permission, expected) => {
    expect(reached([held], permission)).toBe(expected);
  });

  it("puts a resource's wildcard together from all its actions", () => {
    expect(reached(["github:issues:read", "github:issues:write"], "github:issues:*")).toBe(true);
  });

  it("only ever grows with more grants", () => {
    fc.assert(
      fc.property(grants, grant, required, (held, more, permission) => {
        if (reached(held, permission)) expect(reached([...held, more], permission)).toBe(true);
      }),
    );
  });

  it("names as beyond exactly what is not reached", () => {
    fc.assert(
      fc.property(grants, fc.array(required), (held, wanted) => {
        expect(missingPermissions(wanted, new Set(held), catalogue)).toEqual(
          wanted.filter((one) => !reached(held, one)),
        );
      }),
    );
  });
});

describe("the ways to grant a permission, by which a statement decides", () => {
  const catalogues = [catalogue, {}];
  const any = fc.oneof(grant, required, fc.constantFrom("unknown:things:read", "unknown:*:*", "github:unknown:*"));

  it("are all there are: one of them is held exactly where the permission is granted", () => {
    fc.assert(
      fc.property(fc.array(any, { maxLength: 6 }), any, fc.constantFrom(...catalogues), (held, permission, known) => {
        const grants = new Set(held);
        const isHeld = waysToGrant(permission, known).some((way) => way.every((one) => grants.has(one)));
        expect(isHeld).toBe(isGranted(grants, permission, known));
      }),
      { numRuns: 2000 },
    );
  });

  it("each grant it alone", () => {
    for (const permission of [...concrete, ...wildcards, "github:pull_requests:write", "unknown:things:read"]) {
      for (const way of waysToGrant(permission, catalogue)) {
        expect(way).not.toEqual([]);
        expect(reached(way, permission), `${way.join(" ")} for ${permission}`).toBe(true);
      }
    }
  });
});

describe("a token narrowed by what its agent holds", () => {
  it("grants exactly what both grant", () => {
    fc.assert(
      fc.property(grants, grants, fc.constantFrom(...concrete), (claimed, held, permission) => {
        const both = reached(claimed, permission) && reached(held, permission);
        expect(isGranted(intersectPermissions(claimed, held, catalogue), permission, catalogue)).toBe(both);
      }),
      { numRuns: 2000 },
    );
  });

  it("never reaches an uncovered path that one side does not", () => {
    fc.assert(
      fc.property(grants, grants, fc.constantFrom(...services), (claimed, held, service) => {
        const uncovered = `${service}:*:*`;
        const narrowed = isGranted(intersectPermissions(claimed, held, catalogue), uncovered, catalogue);
        if (narrowed) expect([reached(claimed, uncovered), reached(held, uncovered)]).toEqual([true, true]);
      }),
      { numRuns: 2000 },
    );
  });
});
