import * as z from "zod/mini";
import { beforeAll, describe, expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";
import { createApp, ROUTES } from "../../src/app.ts";
import { route, type Route } from "../../src/access/route.ts";
import { world } from "../support/world.ts";
import { cast, visits, walk, type Cast } from "./route-walk.ts";

/** What a declaration needs beside what these tests are about. */
const NOTHING = { summary: "Added by a test", response: () => z.object({}), handle: () => ({}) };

const SETTINGS = { STANDING_TTL_SECONDS: "0" };

/** A walk changes none of them. */
let people: Cast;
beforeAll(async () => {
  people = await cast(world(SETTINGS));
});

describe("every route", () => {
  /** Lets each route meet every so many of the tokens, its neighbour others. */
  async function refuses(every: number): Promise<void> {
    const self = world(SETTINGS);
    const routes = visits(ROUTES);
    expect(people.tokens.length).toBeGreaterThan(70);
    let sent = 0;
    for (const [place, route] of routes.entries()) {
      const tokens = people.tokens.filter((_, index) => (index + place) % every === 0);
      const { faults, calls } = await walk(self, [route], { ...people, tokens });
      expect(faults).toEqual([]);
      sent += calls;
    }
    expect(sent).toBeGreaterThan((routes.length * people.tokens.length) / every);
  }

  it("refuses one in two hundred of all forged, stale and foreign tokens", () => refuses(200));
  it("refuses every forged, stale and foreign token, exactly, and shows nothing", SLOW, () => refuses(1));
});

describe("the walk", () => {
  /** The app over a table in which one route is another. */
  async function faultsOf(change: (routes: readonly Route[]) => Route[], only: string): Promise<string[]> {
    const routes = change(ROUTES);
    const self = world(SETTINGS, createApp(routes));
    const some = routes.filter(({ method, path }) => `${method} ${path}` === only);
    expect(some).toHaveLength(1);
    return (await walk(self, some, { ...people, tokens: people.tokens.slice(0, 5) })).faults;
  }
  const redeclared = (name: string, auth: Route["auth"]) => (routes: readonly Route[]) =>
    routes.map((one) => (`${one.method} ${one.path}` === name ? { ...one, auth } : one));

  it.each<[string, Route["auth"], RegExp]>([
    ["GET /activity", "none", /without a token: status is 200, not 401/],
    ["GET /agents", "bearer", /of another agent: status is 200, not 403/],
    ["GET /agents/{id}", "bearer", /declared bearer, reviewed as self/],
    ["PUT /agents/{id}/tier", "self", /declared self, reviewed as admin/],
    ["POST /agents/verify", "bearer", /asks a stranger for a token/],
  ])("finds %s declared as %s", async (name, auth, fault) => {
    expect(await faultsOf(redeclared(name, auth), name)).toContainEqual(expect.stringMatching(fault));
  });

  it.each<[Route["auth"], RegExp]>([
    ["none", /declared none, reviewed as closed/],
    ["registration", /declared registration, reviewed as closed/],
    ["own", /of another's: status is 200, not 404/],
  ])("finds an added route that is open by %s", async (auth, fault) => {
    const added = route({ method: "GET", path: "/added/{id}", auth, ...NOTHING });
    const faults = await faultsOf((routes) => [...routes, added], "GET /added/{id}");
    expect(faults).toContainEqual(expect.stringMatching(fault));
  });

  it("finds nothing wrong with an added route that is closed", async () => {
    const added = route({ method: "GET", path: "/added", auth: "admin", ...NOTHING });
    expect(await faultsOf((routes) => [...routes, added], "GET /added")).toEqual([]);
  });
});

describe("a route that does not say who may call it", () => {
  it("does not compile", () => {
    // @ts-expect-error `auth` has no default
    const added = route({ method: "GET", path: "/added", ...NOTHING });
    // @ts-expect-error no such auth
    route({ method: "GET", path: "/added", auth: "anybody", ...NOTHING });
    expect(added).not.toHaveProperty("auth");
  });

  it("refuses everybody if it is mounted all the same", async () => {
    const unsaid = { method: "GET", path: "/added", ...NOTHING } as never;
    const answer = await world({}, createApp([unsaid])).call("/added");
    expect([answer.status, answer.body.code]).toEqual([401, "missing_token"]);
  });
});
