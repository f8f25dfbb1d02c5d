import { env } from "cloudflare:workers";
import fc from "fast-check";
import { expect, it } from "vitest";
import { prepare, sql } from "../../src/database/sql.ts";
import { newGrant, serializeGrants, type Grant } from "../../src/grants/grant.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { missingPermissions } from "../../src/permissions/match.ts";
import { beyondAgent } from "../../src/tokens/scope.ts";
import { holdsScope, isWithinSession, toScopePermissions } from "../../src/tokens/scope-row.ts";

const NOW = Date.now();
const HOUR = 3_600_000;
const PERMISSIONS = ["github:issues:read", "github:issues:write", "github:issues:*", "github:*:*", "github:repos:read"];
const WIDE = ["*:*:*", "stripe:payments:read", "lab:things:*", "lab:things:write"];
const CATALOGUE = { ...BUILT_IN_CATALOGUE, lab: { things: ["read", "write"] } };

const permission = fc.constantFrom(...PERMISSIONS, ...PERMISSIONS, ...WIDE);
const scopes = fc.array(permission, { maxLength: 3 });
const grant: fc.Arbitrary<Grant> = fc
  .record({
    permission,
    where: fc.constantFrom(null, null, { "path.owner": { eq: "a" } }),
    expiresAt: fc.constantFrom(null, null, NOW - HOUR, NOW + HOUR),
    // The resource had one action when it was granted, or a former version did not note which it had.
    how: fc.constantFrom("now", "then", "former"),
  })
  .map(({ how, ...limits }) => {
    const made = newGrant(limits, CATALOGUE, NOW);
    if (made.actions === null || how === "now") return made;
    return Object.assign(made, { actions: how === "then" ? ["read"] : null });
  });

/** What a statement decides of each case, and what has to be. */
async function expectEach<Case>(
  cases: readonly Case[],
  decided: (one: Case) => D1PreparedStatement,
  isSo: (one: Case) => boolean,
) {
  const results = await env.DB.batch<{ is: number }>(cases.map(decided));
  const found = results.map(({ results: [row] }, at) => [cases[at], row!.is === 1]);
  expect(found).toEqual(cases.map((one) => [one, isSo(one)]));
  // Each of the two comes about.
  expect(new Set(found.map(([, is]) => is)).size).toBe(2);
}

it("a statement finds an agent to have a scope exactly if its present grants give each permission of it", async () => {
  const agents = fc.sample(fc.record({ grants: fc.array(grant, { maxLength: 4 }), scope: scopes }), {
    seed: 1,
    numRuns: 300,
  });
  await expectEach(
    agents,
    ({ grants, scope }) =>
      prepare(
        env.DB,
        sql`SELECT ${holdsScope(toScopePermissions(scope, CATALOGUE))} AS "is" FROM (SELECT ${serializeGrants(grants)} AS grants) a`,
      ),
    ({ grants, scope }) => beyondAgent(scope, { grants, permissions: exact(grants) }, CATALOGUE, NOW).length === 0,
  );
});

/** A grant of a permission is one of just this permission, whatever `service:resource:*` gave when it was granted. */
const exact = (grants: readonly Grant[]): string[] =>
  grants.filter(({ expiresAt }) => expiresAt === null || expiresAt > NOW).map((one) => one.permission);

it("a statement finds a scope to be within a session exactly if the session's permissions grant each of it", async () => {
  const sessions = fc.sample(fc.record({ session: fc.option(scopes), scope: scopes }), { seed: 1, numRuns: 200 });
  await expectEach(
    sessions,
    ({ session, scope }) =>
      prepare(
        env.DB,
        sql`SELECT ${isWithinSession(toScopePermissions(scope, CATALOGUE))} AS "is" FROM (SELECT ${session && JSON.stringify(session)} AS scope) s`,
      ),
    ({ session, scope }) => session === null || missingPermissions(scope, new Set(session), CATALOGUE).length === 0,
  );
});
