import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newGrant, expandGrants, type Grant } from "../../src/grants/grant.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { isUnlimited, type GrantLimits, type Where } from "../../src/permissions/grant.ts";
import { intersectPermissions } from "../../src/permissions/match.ts";
import { findGrants, judgeLimits } from "../../src/policy/judge.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";
import { grantsOfToken, tokenGrantsOf, toTokenGrants } from "../../src/tokens/authorization-details.ts";
import { delegableGrants } from "../../src/tokens/exchange.ts";
import { extents } from "../support/extents.ts";

const { services } = loadServices(new Map(), BUILT_IN_CATALOGUE);
const NOW = 1_700_000_000_000;
const HOUR = 3_600_000;

const [OWNERS, REPOS, ACTIONS] = [
  ["a", "b"],
  ["x", "y", "z"],
  ["read", "write"],
] as const;

interface Request {
  readonly owner: string;
  readonly repo: string;
  readonly action: string;
}
const REQUESTS: readonly Request[] = OWNERS.flatMap((owner) =>
  REPOS.flatMap((repo) => ACTIONS.map((action) => ({ owner, repo, action }))),
);

/** What somebody was granted, in words that the code under test does not use. */
interface Given {
  readonly permission: "github:issues:read" | "github:issues:write" | "github:issues:*" | "github:*:*";
  readonly owners: readonly string[] | null;
  readonly repos: readonly string[] | null;
  readonly expiresAt: number | null;
}

/** Whether grants allow a request, by themselves. */
const allows = (given: readonly Given[], { owner, repo, action }: Request): boolean =>
  given.some(
    ({ permission, owners, repos }) =>
      ["github:*:*", "github:issues:*", `github:issues:${action}`].includes(permission) &&
      (owners === null || owners.includes(owner)) &&
      (repos === null || repos.includes(repo)),
  );

function toGrant({ permission, owners, repos, expiresAt }: Given): Grant {
  const condition = (values: readonly string[]) => (values.length === 1 ? { eq: values[0]! } : { in: values });
  const where: Where = {
    ...(owners && { "path.owner": condition(owners) }),
    ...(repos && { "path.repo": condition(repos) }),
  };
  const limits = { permission, where: (owners ?? repos) ? where : null, expiresAt };
  return newGrant(limits, BUILT_IN_CATALOGUE, NOW);
}

const subset = (values: readonly string[]) =>
  fc.option(fc.subarray([...values], { minLength: 1 }), { nil: null, freq: 2 });
const given: fc.Arbitrary<Given> = fc.record({
  permission: fc.constantFrom("github:issues:read", "github:issues:write", "github:issues:*", "github:*:*"),
  owners: subset(OWNERS),
  repos: subset(REPOS),
  expiresAt: fc.constantFrom(null, null, NOW + HOUR, NOW + 2 * HOUR),
});
const agentGiven = fc.array(given, { minLength: 1, maxLength: 4 });

/** What the gateway answers to a token with these grants, of agents that have these grants now. */
function judge(token: readonly GrantLimits[], agents: readonly (readonly Grant[])[], { owner, repo, action }: Request) {
  const resolved = resolveRequest(services, {
    service: "github",
    method: action === "read" ? "GET" : "PATCH",
    target: `/repos/${owner}/${repo}/issues/5`,
    headers: new Headers(),
  });
  if (resolved.outcome === "refused") throw new Error(resolved.code);
  const agentGrants = agents.map(expandGrants);
  const whole = (grants: readonly GrantLimits[]) => grants.filter(isUnlimited).map(({ permission }) => permission);
  let permissions: ReadonlySet<string> = new Set(whole(token));
  for (const grants of agentGrants)
    permissions = intersectPermissions([...permissions], whole(grants), BUILT_IN_CATALOGUE);
  const found = findGrants(
    resolved.required,
    { permissions, tokenGrants: token, agentGrants },
    BUILT_IN_CATALOGUE,
    NOW,
  );
  return found.outcome === "granted" && judgeLimits(found.limited, resolved, { kind: "none" }) === null;
}

const tokenOf = (given: readonly Given[]): readonly GrantLimits[] => {
  const grants = given.map(toGrant);
  return grantsOfToken(tokenGrantsOf(grants, null, BUILT_IN_CATALOGUE, NOW), grants, BUILT_IN_CATALOGUE);
};

/** The grants of a token that has been handed on to each of the agents, the first of whom it is. */
function handOn([first, ...others]: readonly (readonly Grant[])[]): readonly GrantLimits[] {
  const own = tokenGrantsOf(first!, null, BUILT_IN_CATALOGUE, NOW);
  let token: readonly GrantLimits[] = grantsOfToken(own, first!, BUILT_IN_CATALOGUE);
  const before = [first!];
  for (const grants of others) {
    before.push(grants);
    const agents = before.map((one) => ({ grants: one }));
    const claims = toTokenGrants(delegableGrants([token], agents, BUILT_IN_CATALOGUE, NOW), BUILT_IN_CATALOGUE);
    token = grantsOfToken(claims, [], BUILT_IN_CATALOGUE);
  }
  return token;
}

describe("what two tokens give together", () => {
  for (const { numRuns, options } of extents(25, 500)) {
    it(`is what each of them gives, although their agents have more, in ${numRuns} pairs`, options, () => {
      const all = [toGrant({ permission: "github:*:*", owners: null, repos: null, expiresAt: null })];
      fc.assert(
        fc.property(agentGiven, agentGiven, (one, other) => {
          const both = delegableGrants([tokenOf(one), tokenOf(other)], [{ grants: all }], BUILT_IN_CATALOGUE, NOW);
          const token = grantsOfToken(toTokenGrants(both, BUILT_IN_CATALOGUE), [], BUILT_IN_CATALOGUE);
          for (const request of REQUESTS) {
            expect([request, judge(token, [all], request)]).toEqual([
              request,
              allows(one, request) && allows(other, request),
            ]);
          }
        }),
        { numRuns },
      );
    });
  }
});

describe("what a chain of agents may do", () => {
  const chains = fc.array(agentGiven, { minLength: 2, maxLength: 5 });

  for (const { numRuns, options } of extents(8, 1500)) {
    it(`is what each of them may do by itself, in ${numRuns} chains`, options, () => {
      fc.assert(
        fc.property(chains, (chain) => {
          const agents = chain.map((one) => one.map(toGrant));
          const token = handOn(agents);
          for (const request of REQUESTS) {
            expect([request, judge(token, agents, request)]).toEqual([
              request,
              chain.every((one) => allows(one, request)),
            ]);
          }
        }),
        { numRuns },
      );
    });

    it(
      `is never more than its first token gave and each has now, in ${numRuns} chains that have changed`,
      options,
      () => {
        fc.assert(
          fc.property(chains, fc.infiniteStream(agentGiven), (chain, later) => {
            const token = handOn(chain.map((one) => one.map(toGrant)));
            const now = chain.map(() => later.next().value as Given[]);
            const agents = now.map((one) => one.map(toGrant));
            for (const request of REQUESTS) {
              if (!judge(token, agents, request)) continue;
              expect([request, [chain[0]!, ...now].every((one) => allows(one, request))]).toEqual([request, true]);
            }
          }),
          { numRuns },
        );
      },
    );
  }
});
