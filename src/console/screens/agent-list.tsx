import { isWaiting, listAgents, readPermissions, readWaiting, type AgentRow } from "../agents.ts";
import { useList, useLoad } from "../load.ts";
import { segment } from "../request.ts";
import { query, setQuery } from "../router.ts";
import { decided, isAdmin, seesAll } from "../state.ts";
import { plural, shortId } from "../text.ts";
import { Card, Choice, Empty, PageHead, Quoted, Rows, Search, Tag, Time } from "../ui.tsx";
import { StatusBadge } from "./status-badge.tsx";

const MOST_TAGS = 3;

export function AgentTable({ rows }: { rows: readonly AgentRow[] }) {
  return (
    <table class="stack agents">
      <thead>
        <tr>
          <th>Agent</th>
          <th>Status</th>
          <th class="hide">Permissions</th>
          <th class="hide">Owner</th>
          <th class="num hide">Last verified</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.agent.agent_id}>
            <td>
              <a class="t" href={`/console/agents/${segment(row.agent.agent_id)}`}>
                <Quoted text={row.agent.name} most={100} brief />
              </a>
              <div class="s mono" title={row.agent.agent_id}>
                {shortId(row.agent.agent_id)}
              </div>
            </td>
            <td>
              <StatusBadge {...row} />
            </td>
            <td class="hide">
              <div class="tags">
                {row.agent.permissions.slice(0, MOST_TAGS).map((permission) => (
                  <Tag text={permission} />
                ))}
                {row.agent.permissions.length > MOST_TAGS && (
                  <span class="s">and {row.agent.permissions.length - MOST_TAGS} more</span>
                )}
                {row.agent.permissions.length === 0 && <span class="s">nothing</span>}
              </div>
            </td>
            <td class="hide">
              <Quoted text={row.agent.owner_email} most={60} brief />
            </td>
            <td class="num hide">
              <Time at={row.details.last_verified_at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const STATUSES = [
  { value: "", label: "Any status" },
  { value: "active", label: "Active" },
  { value: "inactive", label: "Inactive" },
  { value: "suspended", label: "Suspended" },
  { value: "revoked", label: "Revoked" },
];
const TIERS = [
  { value: "", label: "Any tier" },
  { value: "free", label: "Free" },
  { value: "pro", label: "Pro" },
  { value: "enterprise", label: "Enterprise" },
];

const REGISTER_COMMAND = `curl ${location.origin}/agents/register \\
  -H 'Content-Type: application/json' \\
  -d '{"name": "Support assistant", "owner_email": "you@example.com", "permissions": ["zendesk:tickets:read"]}'`;

export function AgentList() {
  const filter = Object.fromEntries(
    ["q", "status", "tier", "permission"].map((name) => [name, query.value.get(name) ?? ""]),
  ) as Record<"q" | "status" | "tier" | "permission", string>;
  const isFiltered = Object.values(filter).some((value) => value !== "");
  const key = JSON.stringify([filter, decided.value]);
  const list = useList(key, (cursor, signal) => listAgents(filter, cursor, signal));
  const waiting = useLoad(`waiting ${decided.value}`, (signal) => readWaiting(undefined, signal));
  const permissions = useLoad("permissions", readPermissions);
  // Pending ones stand first, and not a second time among the others.
  const pending = isFiltered ? [] : (waiting.data?.rows ?? []);
  const shown = (rows: readonly AgentRow[]) => (isFiltered ? rows : rows.filter((row) => !isWaiting(row)));
  const choices = Object.values(permissions.data?.permissions ?? {}).flat();
  // A search and the other filters than the status each need an index of their own: the API takes one of them.
  const set = (name: keyof typeof filter, value: string) => {
    const alone = name === "q" ? { tier: "", permission: "" } : name === "status" ? {} : { q: "" };
    setQuery({ ...alone, [name]: value });
  };
  return (
    <>
      <PageHead
        title="Agents"
        sub={
          list.data?.total !== undefined &&
          `${plural(list.data.total, "agent")}${pending.length > 0 ? `, ${pending.length} pending` : ""}${isFiltered ? " found" : ""}.`
        }
      >
        {isAdmin.value && (
          <a class="btn primary" href="/console/agents/new">
            Register an agent
          </a>
        )}
      </PageHead>
      <div class="filters" role="search">
        {seesAll.value && (
          <Search label="Search name, id or owner" value={filter.q} search={(text) => set("q", text)} />
        )}
        <Choice label="Status" value={filter.status} options={STATUSES} choose={(value) => set("status", value)} />
        <Choice
          label="Permission"
          value={filter.permission}
          options={[
            { value: "", label: "Any permission" },
            { value: "*:*:*", label: "*:*:*" },
            ...choices.map((value) => ({ value, label: value })),
          ]}
          choose={(value) => set("permission", value)}
        />
        <Choice label="Tier" value={filter.tier} options={TIERS} choose={(value) => set("tier", value)} />
      </div>
      <div class="stackgap">
        {pending.length > 0 && (
          <Card title="Waiting for approval" pad={false}>
            <AgentTable rows={pending} />
          </Card>
        )}
        <Card pad={false}>
          <Rows
            of={list}
            empty={
              isFiltered ? (
                <Empty title="No agent matches.">
                  <a href="/console/agents">Show all agents</a>
                </Empty>
              ) : (
                <Empty title="No agents yet.">
                  An agent is a program that calls APIs through this gateway. Register the first one here, or with:
                  <pre>{REGISTER_COMMAND}</pre>
                </Empty>
              )
            }
          >
            {(rows) =>
              shown(rows).length > 0 ? (
                <AgentTable rows={shown(rows)} />
              ) : (
                <p class="faint pad">All agents that were read wait for approval.</p>
              )
            }
          </Rows>
        </Card>
      </div>
    </>
  );
}
