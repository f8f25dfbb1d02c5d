import { and, join, sql, type Sql } from "../../database/sql.ts";
import { STATUSES } from "../agent.ts";
import type { AgentFilter, PagePosition } from "../page.ts";

/** A filter as SQL. */
export interface Selection {
  /** Reads the ids and creation times of agents from one index, the newest first: all that the filter selects, and maybe more. */
  readonly scan: (limit: number, after?: PagePosition | undefined) => Sql;
  /** What else must be true of `agents a`; undefined if the index has exactly what the filter selects. */
  readonly condition: Sql | undefined;
}

/** Greater than every position, for the first page. */
const START: PagePosition = { createdAt: Number.MAX_SAFE_INTEGER, id: "" };

/**
 * Chooses the index that a filter reads: that of the part which selects fewest agents. The other parts become a condition, so that
 * what is read has to be limited.
 */
export function toSelection({
  status,
  tier,
  ownerEmail,
  ownerPersonId,
  permission,
  lastVerifiedBefore,
}: AgentFilter): Selection {
  const is = {
    status: status && sql`a.status = ${status}`,
    tier: tier && sql`a.tier = ${tier}`,
    permission:
      permission &&
      sql`EXISTS (SELECT 1 FROM agent_permissions g
      WHERE g.permission = ${permission} AND g.created_at = a.created_at AND g.agent_id = a.id)`,
    email: ownerEmail === undefined ? undefined : sql`a.owner_email = ${ownerEmail} COLLATE NOCASE`,
    unused:
      lastVerifiedBefore === undefined
        ? undefined
        : sql`coalesce(a.last_verified_at, a.created_at) < ${lastVerifiedBefore}`,
  };
  // Whoever was registered later has not been unused since then.
  const start = (after: PagePosition = START): PagePosition =>
    lastVerifiedBefore !== undefined && lastVerifiedBefore < after.createdAt
      ? { createdAt: lastVerifiedBefore, id: "" }
      : after;
  const ofAgents =
    (where: Sql) =>
    (limit: number, after?: PagePosition): Sql => {
      const { createdAt, id } = start(after);
      return sql`SELECT a.id, a.created_at FROM agents a WHERE ${where} AND (a.created_at, a.id) < (${createdAt}, ${id})
        ORDER BY a.created_at DESC, a.id DESC LIMIT ${limit}`;
    };
  if (ownerPersonId !== undefined) {
    return {
      scan: ofAgents(sql`a.owner_person_id = ${ownerPersonId}`),
      condition: and(is.status, is.tier, is.permission, is.unused, is.email),
    };
  }
  if (ownerEmail !== undefined) {
    // The index begins with the status, so each status is a range of its own.
    const ranges = (status ? [status] : STATUSES).map((one) =>
      ofAgents(sql`a.status = ${one} AND a.owner_email = ${ownerEmail} COLLATE NOCASE`),
    );
    return {
      scan: (limit, after) => {
        const rows = join(
          ranges.map((range) => sql`SELECT * FROM (${range(limit, after)})`),
          sql` UNION ALL `,
        );
        return sql`SELECT id, created_at FROM (${rows}) ORDER BY created_at DESC, id DESC LIMIT ${limit}`;
      },
      condition: and(is.tier, is.permission, is.unused),
    };
  }
  if (permission) {
    return {
      scan: (limit, after) => {
        const { createdAt, id } = start(after);
        return sql`SELECT p.agent_id AS id, p.created_at FROM agent_permissions p
          WHERE p.permission = ${permission} AND (p.created_at, p.agent_id) < (${createdAt}, ${id})
          ORDER BY p.created_at DESC, p.agent_id DESC LIMIT ${limit}`;
      },
      condition: and(is.status, is.tier, is.unused),
    };
  }
  if (is.status) return { scan: ofAgents(is.status), condition: and(is.tier, is.unused) };
  return { scan: ofAgents(is.tier || sql`1`), condition: is.unused };
}
