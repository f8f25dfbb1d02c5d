import { describe, expect, it } from "vitest";
import { newGrant, type Grant } from "../../src/grants/grant.ts";
import { BUILT_IN_CATALOGUE as CATALOGUE } from "../../src/permissions/catalogue.ts";
import { unlimited, type GrantLimits } from "../../src/permissions/grant.ts";
import {
  earliestEnd,
  fitsToken,
  givesAll,
  grantsOfToken,
  GRANT_TYPE,
  MIN_GRANT_LIFE_MS,
  presentDetails,
  readAuthorizationDetails,
  toAuthorizationDetails,
  tokenGrantsOf,
} from "../../src/tokens/authorization-details.ts";

const NOW = Date.parse("2026-03-01T10:00:00Z");
const HOUR = 3_600_000;
const REFERENCE = "agentauth_grant_reference";

const limits = (permission: string, owner: string | null, expiresAt: number | null = null): GrantLimits => ({
  permission,
  where: owner === null ? null : { "path.owner": { eq: owner } },
  expiresAt,
});
const grant = (permission: string, owner: string | null = null, expiresAt: number | null = null): Grant =>
  newGrant(limits(permission, owner, expiresAt), CATALOGUE, NOW);
const detailOf = (changes: object) => ({ type: GRANT_TYPE, permission: "github:issues:read", ...changes });

/** Grants whose limits are longer than a token has room for. */
const many = Array.from({ length: 80 }, (_, n) => grant("github:issues:read", `${"o".repeat(80)}${n}`));

describe("the claim authorization_details", () => {
  const where = { "path.owner": { eq: "a" } };

  it("is read as it was written", () => {
    const details = [limits("github:issues:read", "a", NOW), limits("github:issues:write", "b")];
    for (const reference of [null, { ids: ["grt_1"], within: null }, { ids: [], within: ["github:*:*"] }]) {
      expect(readAuthorizationDetails(toAuthorizationDetails({ details, reference }))).toEqual({ details, reference });
    }
    expect(readAuthorizationDetails(undefined)).toEqual({ details: [], reference: null });
    expect(readAuthorizationDetails([{ type: "another", permission: "github:*:*" }])).toEqual({
      details: [],
      reference: null,
    });
    expect(toAuthorizationDetails({ details: [], reference: null })).toBeUndefined();
    expect(toAuthorizationDetails({ details: [], reference: { ids: [], within: null } })).toEqual([
      { type: REFERENCE, ids: [] },
    ]);
  });

  it.each<[string, unknown]>([
    ["a text", "github:*:*"],
    ["null", null],
    ["a detail that is no object", [null]],
    ["a permission that is no text", [detailOf({ permission: 1, where })]],
    ["no permission", [{ type: GRANT_TYPE, where }]],
    ["an end that is no text", [detailOf({ expires_at: NOW })]],
    ["an end that is no time", [detailOf({ where, expires_at: "soon" })]],
    ["an end that is null", [detailOf({ where, expires_at: null })]],
    ["limits that are a text", [detailOf({ where: "all" })]],
    ["limits that are a list", [detailOf({ where: [] })]],
    ["neither limits nor an end", [detailOf({})]],
    ["a reference without ids", [{ type: REFERENCE }]],
    ["an id that is no text", [{ type: REFERENCE, ids: ["grt_1", 1] }]],
    ["a scope of it that is a text", [{ type: REFERENCE, ids: [], within: "github:*:*" }]],
    ["a scope of it with a number", [{ type: REFERENCE, ids: [], within: ["github:*:*", 1] }]],
    [
      "two references",
      [
        { type: REFERENCE, ids: [] },
        { type: REFERENCE, ids: ["grt_1"] },
      ],
    ],
  ])("is not read with %s", (_, claim) => {
    expect(readAuthorizationDetails(claim)).toBeUndefined();
  });
});

describe("what a token gives", () => {
  const of = (grants: readonly Grant[], scope: readonly string[] | null = null, requested?: readonly GrantLimits[]) =>
    tokenGrantsOf(grants, scope, CATALOGUE, NOW, requested);

  it("leaves out grants that are about to end, and says when the first of the others does", () => {
    const soon = grant("github:repos:read", null, NOW + MIN_GRANT_LIFE_MS);
    const later = grant("github:repos:write", null, NOW + MIN_GRANT_LIFE_MS + 1);
    const last = grant("github:issues:read", null, NOW + HOUR);
    const { scope, details, endsAt } = of([soon, last, later, grant("github:issues:write")]);
    expect([scope, details.map(({ permission }) => permission), endsAt]).toEqual([
      ["github:issues:write"],
      ["github:issues:read", "github:repos:write"],
      NOW + MIN_GRANT_LIFE_MS + 1,
    ]);
    expect(of([grant("github:issues:read", "a")]).endsAt).toBeNull();
    expect(earliestEnd([])).toBeNull();
  });

  it("is nothing but what was asked for by authorization_details, unless there is a scope too", () => {
    const asked = [limits("github:issues:read", "a")];
    const grants = [grant("github:issues:read"), grant("github:repos:read")];
    expect(of(grants, null, asked)).toMatchObject({ scope: [], details: asked });
    expect(of(grants, ["github:repos:read"], asked)).toMatchObject({ scope: ["github:repos:read"], details: asked });
  });

  it("names grants that are too long for it, as far as they are within its scope, and has the others", () => {
    const plain = [grant("github:repos:*"), grant("stripe:payments:read")];
    const ending = grant("github:issues:write", "b", NOW + HOUR);
    const all = of([...plain, ...many, ending]);
    expect(all).toEqual({
      scope: ["stripe:payments:read"],
      details: [],
      reference: { ids: [plain[0]!, ...many, ending].map(({ id }) => id), within: null },
      endsAt: NOW + HOUR,
    });
    expect(fitsToken(all)).toBe(true);

    const narrowed = of([...plain, ...many, ending], ["github:issues:read"]);
    expect(narrowed).toEqual({
      scope: [],
      details: [],
      reference: { ids: many.map(({ id }) => id), within: ["github:issues:read"] },
      endsAt: null,
    });
  });

  it("has what was asked for whole, beside grants that it names", () => {
    const asked = [limits("github:issues:write", "c", NOW + HOUR), unlimited("github:repos:read")];
    const { scope, details, reference, endsAt } = of(many, ["github:issues:read"], asked);
    expect({ scope, details, endsAt }).toEqual({
      scope: ["github:repos:read"],
      details: [asked[0]],
      endsAt: NOW + HOUR,
    });
    expect(reference).toEqual({ ids: many.map(({ id }) => id), within: ["github:issues:read"] });
  });

  it("is less than was granted, and never more, if even the names are too long", () => {
    const services = Object.fromEntries(
      Array.from({ length: 60 }, (_, n) => [
        `s${n}${"x".repeat(28)}`.slice(0, 32),
        { [`r${"y".repeat(31)}`]: [`a${"z".repeat(31)}`] },
      ]),
    );
    const permissions = Object.keys(services).map((one) => `${one}:r${"y".repeat(31)}:a${"z".repeat(31)}`);
    const plain = permissions.map((permission) => newGrant(limits(permission, null), services, NOW));
    const cut = tokenGrantsOf(plain, null, services, NOW);
    expect(cut).toMatchObject({ details: [], reference: null, endsAt: null });
    expect(cut.scope).toEqual(permissions.toSorted().slice(0, 50));
    expect(fitsToken(cut)).toBe(true);
    // What was asked for with limits is not left out in favour of it.
    const asked = [{ ...limits(permissions[0]!, "a"), expiresAt: NOW + HOUR }];
    expect(tokenGrantsOf(plain, permissions, services, NOW, asked)).toEqual({
      scope: [],
      details: asked,
      reference: null,
      endsAt: NOW + HOUR,
    });
  });

  it("is, of grants that it names, those that the agent still has, within its scope", () => {
    const [kept, gone] = [grant("github:issues:*", "a"), grant("github:repos:read", "a")];
    const other = grant("github:issues:read", "b");
    const given = (within: string[] | null) =>
      grantsOfToken(
        { scope: ["stripe:payments:read"], details: [], reference: { ids: [kept.id, gone.id], within } },
        [kept, other],
        CATALOGUE,
      );
    expect(given(["github:issues:read"])).toEqual([
      unlimited("stripe:payments:read"),
      limits("github:issues:read", "a"),
    ]);
    expect(given(null)).toEqual([
      unlimited("stripe:payments:read"),
      limits("github:issues:read", "a"),
      limits("github:issues:write", "a"),
    ]);
  });
});

describe("the details of a token that its agents still have", () => {
  const shown = (token: readonly GrantLimits[], ...agents: (readonly Grant[])[]) =>
    (presentDetails(token, agents, CATALOGUE, NOW) as { permission: string }[] | undefined)?.map(
      ({ permission }) => permission,
    );
  const one = limits("github:issues:read", "a", NOW + HOUR);
  const wide = [grant("github:issues:*")];

  it("are those that every one of them has, exactly so or wider", () => {
    expect(
      shown([one, unlimited("github:issues:write")], wide, [grant("github:issues:read", "a", NOW + 2 * HOUR)]),
    ).toEqual(["github:issues:read"]);
    for (const narrower of [
      grant("github:issues:write", "a"),
      grant("github:issues:read", "b"),
      grant("github:issues:read", "a", NOW + HOUR - 1),
    ]) {
      expect(shown([one], wide, [narrower])).toBeUndefined();
      expect(shown([one], [narrower], wide)).toBeUndefined();
    }
  });

  it("are not those that have ended, of the token or of an agent", () => {
    expect(shown([{ ...one, expiresAt: NOW }], wide)).toBeUndefined();
    expect(shown([limits("github:issues:read", "a")], [grant("github:issues:read", null, NOW)])).toBeUndefined();
  });
});

describe("whether a token gives all that its agent has", () => {
  const all = (token: readonly GrantLimits[], ...grants: Grant[]) => givesAll(token, grants, CATALOGUE, NOW);

  it("is so if it gives each grant, whole or with its limits", () => {
    const token = [unlimited("github:issues:read"), limits("github:repos:read", "a")];
    expect(all(token, grant("github:issues:read", "b"), grant("github:repos:read", "a"))).toBe(true);
    expect(all(token, grant("github:issues:read"), grant("github:repos:read"))).toBe(false);
    expect(all(token, grant("github:issues:read"), grant("github:repos:read", "b"))).toBe(false);
    expect(all(token, grant("github:issues:write"))).toBe(false);
    expect(all([unlimited("github:issues:read")], grant("github:issues:*"))).toBe(false);
  });

  it("does not depend on grants that are about to end, which are in no token", () => {
    expect(all([], grant("github:issues:read", null, NOW + MIN_GRANT_LIFE_MS))).toBe(true);
    expect(all([], grant("github:issues:read", null, NOW + MIN_GRANT_LIFE_MS + 1))).toBe(false);
  });
});
