import * as z from "zod/mini";
import { describe, expect, it } from "vitest";
import { route } from "../../src/access/route.ts";
import { createApp } from "../../src/app.ts";
import { world } from "../support/world.ts";

const added = { method: "GET", path: "/added/{one}/{two}", auth: "none", summary: "Added by a test" } as const;
const response = () => z.object({ success: z.literal(true), items: z.array(z.object({ id: z.string() })) });

describe("a declared route", () => {
  it("gives its handler the parameters of its path, and answers what its handler returns", async () => {
    const own = route({
      ...added,
      response,
      handle: ({ params }) => ({ success: true, items: [{ id: params.one }, { id: params.two }] }),
    });
    const answer = await world({}, createApp([own])).call("/added/a%2Fb/c");
    expect([answer.status, answer.body]).toEqual([200, { success: true, items: [{ id: "a/b" }, { id: "c" }] }]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  it("may say that its successes can be cached, which its refusals are not", async () => {
    const cacheable = { ...added, response, cacheControl: "public, max-age=300" };
    const found = route({ ...cacheable, handle: (_call) => ({ success: true, items: [] }) });
    const broken = route({
      ...cacheable,
      path: "/broken",
      handle() {
        throw new Error("broken");
      },
    });
    const self = world({}, createApp([found, broken]));
    expect((await self.call("/added/a/b")).headers.get("cache-control")).toBe("public, max-age=300");
    expect((await self.call("/broken")).headers.get("cache-control")).toBe("no-store");
  });
});

/** Nothing runs here: `npm run check:types` reads it. Each line must fail for the one reason that stands above it. */
describe("a route that is not what it says", () => {
  it("does not compile", () => {
    // @ts-expect-error `params.three` is no parameter of the path
    route({ ...added, response, handle: ({ params }) => ({ success: true, items: [{ id: params.three }] }) });
    // @ts-expect-error `items` is missing
    route({ ...added, response, handle: () => ({ success: true }) });
    // @ts-expect-error `success` is only ever true
    route({ ...added, response, handle: (call) => ({ success: call.now > 0, items: [] }) });
    // @ts-expect-error an id is a string
    route({ ...added, response, handle: async (call) => ({ success: true, items: [{ id: call.now }] }) });
    // @ts-expect-error a route that anyone may call knows no caller
    route({ ...added, response, handle: ({ caller }) => ({ success: true, items: [{ id: caller.agent.id }] }) });
    // @ts-expect-error a route without a body schema has no body
    route({ ...added, response, handle: ({ body }) => ({ success: true, items: [{ id: body.id }] }) });
    // @ts-expect-error a route needs a response schema
    route({ ...added, handle: () => ({}) });
    expect(response().safeParse({ success: true, items: [] }).success).toBe(true);
  });
});
