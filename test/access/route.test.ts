import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { rolesOf, route } from "../../src/access/route.ts";

const declared = {
  method: "POST",
  path: "/things",
  auth: "bearer",
  response: () => z.object({}),
  handler: () => ({}),
} as never;

describe("a route", () => {
  it("makes each schema once, and has none that it does not declare", () => {
    const whole = route({ ...(declared as object), body: () => z.object({}), query: () => z.object({}) } as never);
    expect(whole.body!()).toBe(whole.body!());
    expect(whole.query!()).toBe(whole.query!());
    expect(Object.keys(route(declared))).toEqual(Object.keys(declared));
  });

  it("takes the people of its auth, unless it names others", () => {
    expect(rolesOf({ auth: "bootstrap" })).toEqual([]);
    expect(rolesOf({ auth: "self" })).toEqual(["admin", "owner", "auditor"]);
    expect(rolesOf({ auth: "self", roles: [] })).toEqual([]);
  });
});
