import { route } from "../http/route.ts";
import { agentActivity, pageQuery } from "./schemas.ts";
import { readAgentActivity, type ActivityRow } from "./store.ts";

export const activityRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/activity",
    auth: "self",
    summary: "What an agent did, newest first",
    query: pageQuery,
    answer: agentActivity,
    async handle({ env, params, query }) {
      const agentId = params.id ?? "";
      const { rows, total } = await readAgentActivity(env.DB, agentId, query);
      return {
        success: true,
        agent_id: agentId,
        activity: rows.map(toWire),
        pagination: {
          total,
          limit: query.limit,
          offset: query.offset,
          has_more: query.offset + rows.length < total,
        },
      };
    },
  }),
];

function toWire(row: ActivityRow) {
  return {
    id: row.id,
    agent_id: row.agent_id,
    timestamp: new Date(row.at).toISOString(),
    ip_address: row.ip_address,
    status: row.status,
    message: row.message,
  };
}
