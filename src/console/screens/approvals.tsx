import { readWaiting, setStatus, type AgentRow } from "../agents.ts";
import { useList } from "../load.ts";
import { segment } from "../request.ts";
import { decided, notify } from "../state.ts";
import { ActionButton, Card, Empty, PageHead, Quoted, Rows, Tag, Time } from "../ui.tsx";

/** Makes an agent active, and says how it is undone. */
export async function approve({ agent }: AgentRow): Promise<void> {
  const approved = await setStatus(agent, "active");
  notify(`${agent.name} is approved. It can verify itself now.`, () => setStatus(approved, "suspended"));
}

/** One registration that waits. */
export function WaitingRow({ row }: { row: AgentRow }) {
  const { agent, details } = row;
  return (
    <div class="wait">
      <div class="i" aria-hidden="true">
        A
      </div>
      <div>
        <div>
          <a class="t" href={`/console/agents/${segment(agent.agent_id)}`}>
            <Quoted text={agent.name} most={100} brief />
          </a>{" "}
          registered <Time at={agent.created_at} />
        </div>
        <div class="s">
          <Quoted text={agent.owner_email} most={100} />
          {details.created_by ? "" : " · by a stranger"}
        </div>
        {details.description && (
          <div class="s">
            “<Quoted text={details.description} most={200} />”
          </div>
        )}
        <div class="tags">
          {agent.permissions.map((permission) => (
            <Tag text={permission} />
          ))}
        </div>
      </div>
      <div class="row">
        <a class="btn small" href={`/console/agents/${segment(agent.agent_id)}`}>
          Look
        </a>
        <ActionButton small work={() => approve(row)}>
          Approve
        </ActionButton>
      </div>
    </div>
  );
}

/** What waits for a decision: registrations. */
export function Approvals() {
  const list = useList(`approvals ${decided.value}`, readWaiting);
  return (
    <>
      <PageHead
        title="Approvals"
        sub="Registrations that wait for an administrator. An agent can do nothing until it is approved."
      />
      <Card pad={false}>
        <Rows
          of={list}
          empty={
            <Empty title="Nothing waits for you.">New registrations appear here while REGISTRATION is approval.</Empty>
          }
        >
          {(rows) => rows.map((row) => <WaitingRow key={row.agent.agent_id} row={row} />)}
        </Rows>
      </Card>
    </>
  );
}
