import { integer, sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW, toTimestamp } from "../database/time.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { unlimited } from "../permissions/grant.ts";
import { newGrant, serializeGrants, unlimitedPermissions, type Grant } from "./grant.ts";

// SQL about `agents.grants`, for statements that read or update the table `agents` under its own name. A grant there is `g.value`.

/** Grants that have ended and are kept when others are set. */
const MAX_ENDED_GRANTS = 50;

const HAS_LIMITS = sql`(g.value ->> 'where' IS NOT NULL OR g.value ->> 'expires_at' IS NOT NULL)`;
const HAS_ENDED = sql`coalesce(g.value ->> 'expires_at' <= ${DATABASE_NOW}, 0)`;
const PERMISSION = sql`g.value ->> 'permission'`;
const GRANTS = sql`json_each(agents.grants) g`;

/** SQL for a JSON array of the permissions of grants that have not ended, limited ones among them, as a text. @param grants SQL for the grants. */
export const grantedPermissions = (grants: Sql): Sql =>
  sql`(SELECT json_group_array(${PERMISSION}) FROM json_each(${grants}) g WHERE NOT ${HAS_ENDED})`;

/** SQL for a JSON array of what a record says of grants that have not ended, as a text. @param grants SQL for the grants. */
export const grantsForRecord = (grants: Sql): Sql =>
  sql`(SELECT json_group_array(json_object('id', g.value ->> 'id', 'permission', ${PERMISSION}, 'where', json(g.value -> 'where'),
      'expires_at', ${toTimestamp(sql`(g.value ->> 'expires_at')`)})) FROM json_each(${grants}) g WHERE NOT ${HAS_ENDED})`;

/** SQL for the text of `agents.grants` with new grants. @param creator SQL for the JSON of who makes them, or for NULL. */
export const newGrantsJson = (grants: readonly Grant[], creator: Sql): Sql =>
  sql`(SELECT json_group_array(json_set(n.value, '$.created_by', json(${creator}))) FROM json_each(${serializeGrants(grants)}) n)`;

/** The new permissions of an agent, each with what it becomes if the agent does not have it. */
export interface PermissionList {
  /** The new grants, as JSON. */
  readonly fresh: string;
  /** For each, the texts with which a permission begins, or that it is, which reaches something that this one reaches. */
  readonly overlaps: string;
}

/** @param now milliseconds. */
export const toPermissionList = (permissions: readonly string[], catalogue: Catalogue, now: number): PermissionList => {
  const unique = [...new Set(permissions)].toSorted();
  return {
    fresh: serializeGrants(unique.map((permission) => newGrant(unlimited(permission), catalogue, now))),
    overlaps: JSON.stringify(
      unique.map((permission) => {
        const [service = "", resource = ""] = permission.split(":");
        // Without its `*`, a wildcard is what all that it reaches begins with.
        const prefix = /^[^*]*/.exec(permission)![0];
        return { permission, prefix, wider: ["*:*:*", `${service}:*:*`, `${service}:${resource}:*`] };
      }),
    ),
  };
};

/** Why a list of permissions cannot be set: it says nothing of the limits that a grant has. */
export interface LimitedGrant {
  /** The list leaves the grant's permission out; it names another one that reaches the same; or the grant has ended. */
  readonly reason: "dropped" | "wider" | "ended";
  /** Of the list, or the one that it leaves out. */
  readonly permission: string;
  readonly grantId: string;
  /** The permission of the grant. */
  readonly granted: string;
}

/**
 * SQL that selects each {@link LimitedGrant} that keeps an agent from getting a list of permissions. None is if the list was read from
 * the agent: the same permission keeps its limits. A permission of a grant that has ended may have been read before the end, so that it
 * is not granted for ever.
 */
export function limitedGrants(id: string, { overlaps }: PermissionList): Sql {
  const wanted = sql`json_each(${overlaps}) w`;
  const isAdded = sql`w.value ->> 'permission' NOT IN (SELECT ${PERMISSION} FROM ${GRANTS} WHERE NOT ${HAS_ENDED})`;
  const grant = sql`g.value ->> 'id' AS grantId, ${PERMISSION} AS granted`;
  return sql`SELECT 'dropped' AS reason, ${PERMISSION} AS permission, ${grant} FROM agents, ${GRANTS}
      WHERE agents.id = ${id} AND ${HAS_LIMITS} AND NOT ${HAS_ENDED} AND ${PERMISSION} NOT IN (SELECT w.value ->> 'permission' FROM ${wanted})
    UNION ALL
    SELECT iif(${HAS_ENDED}, 'ended', 'wider') AS reason, w.value ->> 'permission' AS permission, ${grant} FROM agents, ${GRANTS}, ${wanted}
      WHERE agents.id = ${id} AND ${HAS_LIMITS} AND ${isAdded} AND iif(${HAS_ENDED}, ${PERMISSION} = w.value ->> 'permission',
        ${PERMISSION} IN (SELECT value FROM json_each(w.value -> 'wider'))
        OR substr(${PERMISSION}, 1, length(w.value ->> 'prefix')) = w.value ->> 'prefix')`;
}

/**
 * SQL of an update that sets a list of permissions. What an agent has of it stays as it is, with its id and its limits; what it has
 * beside it goes, except that grants that have ended stay for as long as they are kept; the rest is granted without limits. It must not be run
 * while {@link limitedGrants} has any.
 *
 * @returns `set`, and `differs`: that the agent has something else now.
 */
export function setPermissionList({ fresh }: PermissionList, creator: Sql): { set: Sql; differs: Sql } {
  const wanted = sql`(SELECT n.value ->> 'permission' FROM json_each(${fresh}) n)`;
  const live = sql`(SELECT ${PERMISSION} FROM ${GRANTS} WHERE NOT ${HAS_ENDED})`;
  const added = sql`json_each(${fresh}) n WHERE n.value ->> 'permission' NOT IN ${live}`;
  return {
    set: sql`grants = (SELECT json_group_array(json(granted)) FROM (
          SELECT g.value AS granted FROM ${GRANTS} WHERE ${HAS_ENDED} OR ${PERMISSION} IN ${wanted}
          UNION ALL SELECT json_set(n.value, '$.created_by', json(${creator})) FROM ${added})),
        permissions = (SELECT json_group_array(permission) FROM (
          SELECT n.value ->> 'permission' AS permission FROM ${added}
          UNION SELECT ${PERMISSION} FROM ${GRANTS} WHERE NOT ${HAS_LIMITS} AND ${PERMISSION} IN ${wanted} ORDER BY 1)),
        grants_version = grants_version + 1`,
    differs: sql`(EXISTS (SELECT 1 FROM ${added}) OR EXISTS (SELECT 1 FROM ${GRANTS} WHERE NOT ${HAS_ENDED} AND ${PERMISSION} NOT IN ${wanted}))`,
  };
}

/**
 * SQL of an update that sets grants. Of those that the agent has, one with the same permission, limits and end stays as it is, with its
 * id. Those that have ended stay for as long as they are kept, without their limits, which nobody needs any more, so that no list of
 * permissions grants them for ever.
 *
 * @param grants all that the agent is to have, each as a new one. None has ended, and no two are equal.
 * @returns `set`; `list`, what `agents.grants` becomes by it; and `differs`: that the agent has something else now.
 */
export function setGrantList(grants: readonly Grant[], creator: Sql): { set: Sql; list: Sql; differs: Sql } {
  const fresh = sql`json_each(${serializeGrants(grants)}) n`;
  const isSame = sql`NOT ${HAS_ENDED} AND ${PERMISSION} = n.value ->> 'permission'
    AND g.value -> 'where' IS n.value -> 'where' AND g.value ->> 'expires_at' IS n.value ->> 'expires_at'`;
  const kept = sql`(SELECT g.value FROM ${GRANTS} WHERE ${isSame} LIMIT 1)`;
  const list = sql`(SELECT json_group_array(json(granted)) FROM (
      SELECT coalesce(${kept}, json_set(n.value, '$.created_by', json(${creator}))) AS granted FROM ${fresh}
      UNION ALL SELECT * FROM (SELECT json_remove(g.value, '$.where') FROM ${GRANTS} WHERE ${HAS_ENDED}
        ORDER BY g.value ->> 'expires_at' DESC LIMIT ${integer(MAX_ENDED_GRANTS)})))`;
  return {
    list,
    set: sql`grants = ${list},
        permissions = ${JSON.stringify(unlimitedPermissions(grants))},
        grants_due_at = iif(EXISTS (SELECT 1 FROM ${GRANTS} WHERE ${HAS_ENDED}) OR ${grants.some(({ expiresAt }) => expiresAt !== null) ? sql`1` : sql`0`},
          ${DATABASE_NOW}, NULL),
        grants_version = grants_version + 1`,
    differs: sql`((SELECT count(*) FROM ${GRANTS} WHERE NOT ${HAS_ENDED}) <> ${grants.length}
      OR EXISTS (SELECT 1 FROM ${fresh} WHERE NOT EXISTS (SELECT 1 FROM ${GRANTS} WHERE ${isSame})))`,
  };
}
