import type {
  Agent,
  AgentDetails,
  AgentListResponse,
  AgentResponse,
  AgentStatus,
  PermissionListResponse,
} from "../client/wire.ts";
import type { ListPage } from "./load.ts";
import { change, read, segment } from "./request.ts";
import { decided } from "./state.ts";

/** An agent with what stands beside it. */
export interface AgentRow {
  readonly agent: Agent;
  readonly details: AgentDetails;
}

const toRows = ({ agents, details }: AgentListResponse): AgentRow[] =>
  agents.flatMap((agent) => {
    const own = details[agent.agent_id];
    return own ? [{ agent, details: own }] : [];
  });

type Filter = Readonly<Record<string, string | number | undefined>>;

/** A page of agents. @param total whether the whole list is counted. */
export async function listAgents(filter: Filter, cursor?: string, signal?: AbortSignal): Promise<ListPage<AgentRow>> {
  const page = await read<AgentListResponse>("/agents", { limit: 50, ...filter, cursor }, signal);
  return { rows: toRows(page), next: page.next_cursor, total: page.total };
}

/** Whether an agent waits for its registration to be decided: it was never made active. */
export const isWaiting = ({ agent, details }: AgentRow): boolean =>
  agent.status === "inactive" && details.approved_by === null;

/** The registrations that wait, the newest first. `total` counts those on the first page. */
export async function readWaiting(cursor?: string, signal?: AbortSignal): Promise<ListPage<AgentRow>> {
  const page = await listAgents({ status: "inactive", limit: 100 }, cursor, signal);
  const rows = page.rows.filter(isWaiting);
  return { ...page, rows, total: rows.length };
}

export const readAgent = (id: string, signal?: AbortSignal): Promise<AgentResponse> =>
  read<AgentResponse>(`/agents/${segment(id)}`, {}, signal);

/** Sets the status of an agent, if it is still as it was read. Returns the agent as it is then. */
export async function setStatus({ agent_id: id, updated_at }: Agent, status: AgentStatus): Promise<Agent> {
  const { agent } = await change<{ agent: Agent }>("PUT", `/agents/${segment(id)}/status`, { status, updated_at });
  decided.value += 1;
  return agent;
}

/** The permissions that can be granted, by service. */
export const readPermissions = (signal?: AbortSignal): Promise<PermissionListResponse> =>
  read<PermissionListResponse>("/permissions/list", {}, signal);
