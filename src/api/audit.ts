import { notFound } from "../http/errors.ts";
import { route } from "../http/route.ts";
import { page } from "./paging.ts";
import { activityQuery, pageQuery } from "./audit-schemas.ts";
import { readActivity, type ActivityPage, type ActivityRow } from "../audit/store.ts";

export const activityRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/activity",
    auth: "self",
    query: pageQuery,
    async handle({ env, params, query, caller }) {
      const agentId = params.id ?? "";
      const found = await readActivity(env.DB, { ...query, agentId });
      // What a deleted agent did can still be read.
      if (!found.agentExists && found.total === 0) throw notFound("The agent");
      return { success: true, agent_id: agentId, ...toPage(found, query, { showAddresses: caller.isAdmin }) };
    },
  }),

  route({
    method: "GET",
    path: "/activity",
    auth: "admin",
    query: activityQuery,
    async handle({ env, query }) {
      const found = await readActivity(env.DB, { ...query, agentId: query.agent_id });
      return { success: true, ...toPage(found, query, { showAddresses: true }) };
    },
  }),
];

function toPage(
  found: ActivityPage,
  { limit, offset }: { limit: number; offset: number },
  { showAddresses }: { showAddresses: boolean },
) {
  const { rows, hasMore } = page(found.rows, { limit });
  const activity = rows.map((row) => toActivityResponse(row, row.by_other === 0 || showAddresses));
  return { activity, pagination: { total: found.total, limit, offset, has_more: hasMore } };
}

/** @param showAddress An agent does not learn from where an administrator, or another agent, acted on it. */
function toActivityResponse(row: ActivityRow, showAddress: boolean) {
  return {
    id: row.id,
    agent_id: row.agent_id,
    timestamp: new Date(row.at).toISOString(),
    ip_address: showAddress ? row.ip_address : "",
    status: row.status,
    message: row.message,
  };
}
