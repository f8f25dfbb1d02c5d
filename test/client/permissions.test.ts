import { describe, expect, expectTypeOf, it } from "vitest";
import {
  Permissions,
  isGranted,
  type KnownPermission,
  type Permission,
  type PresetPermission,
} from "../../src/client/permissions.ts";
import { BUILT_IN_CATALOGUE, listService } from "../../src/permissions/catalogue.ts";
import { validatePermission } from "../../src/permissions/grammar.ts";
import { BUILT_IN_SERVICES } from "../../src/policy/services.ts";
import { isGranted as serverReaches } from "../../src/permissions/match.ts";

declare module "../../src/client/services.ts" {
  interface Services {
    orders: { orders: "read" | "write"; refunds: "read" };
  }
}

describe("Permissions", () => {
  const leaves = (tree: object): string[] =>
    Object.values(tree).flatMap((value) => (typeof value === "string" ? [value] : leaves(value as object)));

  it("holds all that the server's catalogue can grant, and nothing else", () => {
    const listed = leaves(Permissions);
    expect(new Set(listed).size).toBe(listed.length);
    for (const one of listed) expect(validatePermission(one, BUILT_IN_CATALOGUE)).toBeUndefined();
    const concrete = Object.keys(BUILT_IN_CATALOGUE).flatMap((service) => listService(BUILT_IN_CATALOGUE, service));
    const resources = Object.entries(BUILT_IN_CATALOGUE).flatMap(([service, named]) =>
      Object.keys(named).map((resource) => `${service}:${resource}:*`),
    );
    const services = Object.keys(BUILT_IN_CATALOGUE).map((service) => `${service}:*:*`);
    expect(listed.toSorted()).toEqual([...concrete, ...resources, ...services, "*:*:*"].sort());
  });

  it("are completed to their literal types", () => {
    expectTypeOf(Permissions.Zendesk.Tickets.Read).toEqualTypeOf<"zendesk:tickets:read">();
    expectTypeOf(Permissions.HubSpot.All).toEqualTypeOf<"hubspot:*:*">();
    expectTypeOf(Permissions.GitHub.PullRequests.All).toEqualTypeOf<"github:pull_requests:*">();
    expectTypeOf(Permissions.Admin).toEqualTypeOf<"*:*:*">();
    expectTypeOf<"stripe:invoices:read">().toExtend<KnownPermission>();
    expectTypeOf<"stripe:invoices:write">().not.toExtend<KnownPermission>();
    expect(Permissions.GitHub.PullRequests.Read).toBe("github:pull_requests:read");
  });

  it("have, as a type, what the presets add, and none of these is granted by a wildcard", () => {
    const all: Record<PresetPermission, true> = {
      "zendesk:uploads:write": true,
      "zendesk:ticket_fields:read": true,
      "slack:reactions:read": true,
      "slack:reactions:write": true,
      "slack:users:read": true,
      "slack:auth:read": true,
      "hubspot:properties:read": true,
      "hubspot:pipelines:read": true,
      "hubspot:owners:read": true,
      "hubspot:notes:read": true,
      "hubspot:notes:write": true,
      "github:pull_requests:write": true,
      "github:statuses:read": true,
      "github:statuses:write": true,
      "github:checks:read": true,
      "github:checks:write": true,
      "github:workflow_runs:read": true,
      "github:workflow_runs:write": true,
      "salesforce:contacts:read": true,
      "salesforce:contacts:write": true,
      "salesforce:opportunities:read": true,
      "salesforce:opportunities:write": true,
      "stripe:subscriptions:read": true,
      "stripe:refunds:read": true,
      "stripe:refunds:write": true,
      "stripe:products:read": true,
      "stripe:balance:read": true,
    };
    const added = BUILT_IN_SERVICES.flatMap(({ name, presets = {} }) =>
      Object.values(presets).flatMap(({ resources }) =>
        Object.entries(resources).flatMap(([resource, actions]) =>
          actions.map((action) => `${name}:${resource}:${action}`),
        ),
      ),
    );
    expect(Object.keys(all).toSorted()).toEqual(added.toSorted());
    for (const permission of Object.keys(all) as PresetPermission[]) {
      const wildcard = permission.replace(/\w+$/, "*");
      expect([isGranted([wildcard], permission), isGranted([permission], permission)]).toEqual([false, true]);
    }
  });

  it("are, as a type, those of the built-in and of the declared services, and no others", () => {
    expectTypeOf<
      "zendesk:tickets:read" | "orders:orders:write" | "orders:refunds:*" | "orders:*:*" | "*:*:*"
    >().toExtend<Permission>();
    expectTypeOf<"github:isues:read">().not.toExtend<Permission>();
    expectTypeOf<"github:issues:wirte">().not.toExtend<Permission>();
    expectTypeOf<"stripe:payments:write">().not.toExtend<Permission>();
    expectTypeOf<"gihub:issues:read">().not.toExtend<Permission>();
    expectTypeOf<"github:isues:*">().not.toExtend<Permission>();
    expectTypeOf<"gihub:*:*">().not.toExtend<Permission>();
    expectTypeOf<"orders:refunds:write">().not.toExtend<Permission>();
    expectTypeOf<"invoices:invoices:read">().not.toExtend<Permission>();
    expectTypeOf<"invalid:permission">().not.toExtend<Permission>();
    expectTypeOf<"*:tickets:read">().not.toExtend<Permission>();
    expectTypeOf<"zendesk:*:read">().not.toExtend<Permission>();
    expectTypeOf<"Zendesk:tickets:read">().not.toExtend<Permission>();
    expectTypeOf<"">().not.toExtend<Permission>();
    expectTypeOf<string>().not.toExtend<Permission>();
    const taken: Permission[] = ["zendesk:tickets:read", "zendesk:tickets:*", "zendesk:*:*", "orders:orders:write"];
    // @ts-expect-error two parts are no permission
    taken.push("invalid:permission");
    // @ts-expect-error no wildcard but at the end
    taken.push("*:tickets:read");
    expect(validatePermission(taken.at(-2)!, BUILT_IN_CATALOGUE)).toBeDefined();
  });

  it("reach of a built-in service what they reach at the gateway", () => {
    const concrete = Object.keys(BUILT_IN_CATALOGUE).flatMap((service) => listService(BUILT_IN_CATALOGUE, service));
    const unlisted = ["stripe:payments:write", "github:pull_requests:write", "zendesk:macros:read"].map(
      (text) => text as Permission,
    );
    const differing = leaves(Permissions).flatMap((grant) =>
      [...(concrete as Permission[]), ...unlisted, Permissions.HubSpot.All, Permissions.Admin]
        .filter((wanted) => isGranted([grant], wanted) !== serverReaches(new Set([grant]), wanted, BUILT_IN_CATALOGUE))
        .map((wanted) => `${grant} → ${wanted}`),
    );
    expect(differing).toEqual([]);
  });

  it.each<[string[], Permission, boolean]>([
    [["github:repos:*", "github:issues:read"], "github:issues:read", true],
    [["orders:orders:*"], "orders:orders:write", true],
    [["orders:*:*"], "orders:orders:write", true],
    [["orders:orders:read"], "orders:orders:write", false],
    [["stripe:payments:*"], "stripe:payments:write" as Permission, false],
    [["github:repos:*", "slack:*:*"], "github:issues:read", false],
    [[], "github:issues:read", false],
  ])("%j reach %s: %s", (granted, permission, expected) => {
    expect(isGranted(granted, permission)).toBe(expected);
  });
});
