import { sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { waysToGrant } from "../permissions/match.ts";

/** A permission that a token is limited to, and the sets of permissions of which each grants it. */
export interface ScopePermission {
  readonly permission: string;
  readonly ways: readonly string[][];
}

export const toScopePermissions = (scope: readonly string[], catalogue: Catalogue): ScopePermission[] =>
  scope.map((permission) => ({ permission, ways: waysToGrant(permission, catalogue) }));

/**
 * SQL that is true if agent `a` has, for each permission, a grant of just this permission, or grants that give all of one of the sets
 * that grant it, limited or not. `service:resource:*` gives the actions that it was granted with.
 */
export const holdsScope = (scope: readonly ScopePermission[]): Sql => {
  const live = sql`json_each(a.grants) g WHERE coalesce(g.value ->> 'expires_at' > ${DATABASE_NOW}, 1)`;
  return sql`NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(scope)}) wanted
    WHERE wanted.value ->> 'permission' NOT IN (SELECT g.value ->> 'permission' FROM ${live})
    AND NOT EXISTS (SELECT 1 FROM json_each(wanted.value -> 'ways') way WHERE NOT EXISTS (
      SELECT 1 FROM json_each(way.value) needed WHERE needed.value NOT IN (
        SELECT g.value ->> 'permission' FROM ${live} AND g.value ->> 'actions' IS NULL
        UNION ALL
        SELECT rtrim(g.value ->> 'permission', '*') || action.value
        FROM (SELECT g.value FROM ${live} AND g.value ->> 'actions' IS NOT NULL) g, json_each(g.value -> 'actions') action))))`;
};

/** SQL that is true if a session `s` is limited to nothing, or to permissions that grant each of a scope. */
export const isWithinSession = (scope: readonly ScopePermission[]): Sql =>
  sql`(s.scope IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(scope)}) wanted WHERE NOT EXISTS (
    SELECT 1 FROM json_each(wanted.value -> 'ways') way WHERE NOT EXISTS (
      SELECT 1 FROM json_each(way.value) needed WHERE needed.value NOT IN (SELECT value FROM json_each(s.scope))))))`;
