import { useState } from "preact/hooks";
import type { AgentResponse, KeyListResponse, SessionListResponse, Tier } from "../../client/wire.ts";
import { readAgent, setStatus, type AgentRow } from "../agents.ts";
import { asRequestError, useList, useLoad } from "../load.ts";
import { change, read, segment } from "../request.ts";
import { navigate } from "../router.ts";
import { decided, isAdmin, me, notify, seesAll, type Person } from "../state.ts";
import { duration, plural, shortId } from "../text.ts";
import {
  ActionButton,
  Badge,
  Button,
  Card,
  Choice,
  Copyable,
  Destroy,
  Empty,
  Facts,
  PageHead,
  Quoted,
  ReadyScreen,
  Rows,
  SecretOnce,
  Time,
} from "../ui.tsx";
import { AgentActivity } from "./agent-activity.tsx";
import { AgentWebhooks, WebhooksElsewhere } from "./agent-webhooks.tsx";
import { approve } from "./approvals.tsx";
import { EditAgent } from "./edit-agent.tsx";
import { EndSession } from "./end-session.tsx";
import { Grants } from "./grants.tsx";
import { NewKey } from "./new-key.tsx";
import { StatusBadge } from "./status-badge.tsx";

const isTheirs = (row: AgentRow): boolean => isAdmin.value || row.details.owner_person_id === me.value!.id;

export function AgentScreen({ id }: { id: string }) {
  const loaded = useLoad(`agent ${id} ${decided.value}`, (signal) => readAgent(id, signal));
  return (
    <ReadyScreen of={loaded} kind="Agent" all={{ href: "/console/agents", name: "All agents" }}>
      {(response) => <OneAgent response={response} reload={loaded.reload} />}
    </ReadyScreen>
  );
}

function OneAgent({ response, reload }: { response: AgentResponse; reload: () => void }) {
  const { agent, details } = response;
  const row = { agent, details };
  const id = agent.agent_id;
  const [dialog, setDialog] = useState<"edit" | "sessions" | "revoke" | "delete">();
  const close = () => setDialog(undefined);
  const status = async (next: "active" | "suspended") => {
    const changed = await setStatus(agent, next);
    const undone = next === "active" ? "suspended" : "active";
    notify(
      next === "active" ? `${agent.name} is active.` : `${agent.name} is suspended, and its tokens have ended.`,
      isAdmin.value ? () => setStatus(changed, undone) : undefined,
    );
  };
  const isPending = agent.status === "inactive" && details.approved_by === null;
  const path = `/agents/${segment(id)}`;
  return (
    <>
      <PageHead
        title={<Quoted text={agent.name} />}
        sub={
          <>
            <StatusBadge {...row} /> <Copyable value={id} />
          </>
        }
      >
        {isAdmin.value && agent.status === "inactive" && (
          <ActionButton kind="primary" work={() => (isPending ? approve(row) : status("active"))}>
            {isPending ? "Approve" : "Activate"}
          </ActionButton>
        )}
        {isAdmin.value && agent.status === "suspended" && (
          <ActionButton work={() => status("active")}>Activate</ActionButton>
        )}
        {isTheirs(row) && agent.status === "active" && (
          <ActionButton work={() => status("suspended")}>Suspend</ActionButton>
        )}
        {isAdmin.value && agent.status === "active" && (
          <Button kind="danger" onClick={() => setDialog("sessions")}>
            End its sessions
          </Button>
        )}
        {isTheirs(row) && agent.status !== "revoked" && (
          <Button kind="danger" onClick={() => setDialog("revoke")}>
            Revoke
          </Button>
        )}
      </PageHead>
      {isPending && isAdmin.value && (
        <p class="note">
          It waits for approval. Look at what it asks for below; until it is approved it can do nothing.
        </p>
      )}
      <div class="grid two">
        <div class="stackgap">
          <Grants agent={agent} changed={reload} />
          <AgentActivity id={id} />
        </div>
        <div class="stackgap">
          <Card
            title="About"
            action={
              isTheirs(row) &&
              agent.status !== "revoked" && (
                <Button small onClick={() => setDialog("edit")}>
                  Edit
                </Button>
              )
            }
          >
            <Facts
              rows={[
                details.description !== null && ["Description", <Quoted text={details.description} most={200} />],
                ["Owner’s address", <Quoted text={agent.owner_email} most={120} />],
                details.owner_person_id !== null && ["Owned by", <OwnerName id={details.owner_person_id} />],
                [
                  "Registered",
                  <>
                    <Time at={agent.created_at} />{" "}
                    {details.created_by ? (
                      <>
                        by <Quoted text={details.created_by.name ?? details.created_by.type} most={60} />
                      </>
                    ) : (
                      "by a stranger"
                    )}
                  </>,
                ],
                details.approved_by !== null && [
                  "Approved",
                  <>
                    by <Quoted text={details.approved_by.name ?? details.approved_by.type} most={60} />
                  </>,
                ],
                ["Last verified", <Time at={details.last_verified_at} />],
                [
                  "Tier",
                  isAdmin.value && agent.status !== "revoked" ? (
                    <TierChoice agent={agent} changed={reload} />
                  ) : (
                    agent.tier
                  ),
                ],
                ["Rate limit", details.rate_limit === null ? "that of the tier" : `${details.rate_limit} a minute`],
                ["Addresses", details.allowed_ips === null ? "any" : details.allowed_ips.join(", ")],
                ...Object.entries(details.metadata)
                  .slice(0, 20)
                  .map(([name, value]) => [name.slice(0, 40), <Quoted text={value} most={200} />] as const),
              ]}
            />
          </Card>
          {agent.status !== "revoked" && <Keys row={row} changed={reload} />}
          {agent.status !== "revoked" && <Sessions row={row} />}
          {seesAll.value ? <AgentWebhooks id={id} /> : <WebhooksElsewhere id={id} />}
          {isAdmin.value && (
            <Card title="Delete">
              <p>Its keys, sessions and webhooks go. Its records stay in the log for their time.</p>
              <Button kind="danger" onClick={() => setDialog("delete")}>
                Delete the agent
              </Button>
            </Card>
          )}
        </div>
      </div>
      {dialog === "edit" && <EditAgent row={row} close={close} saved={reload} />}
      {dialog === "sessions" && (
        <Destroy
          title="End its sessions"
          name={agent.name}
          what="name of the agent"
          label="End all"
          close={close}
          work={async () => {
            await change("POST", `${path}/revoke-tokens`);
            decided.value += 1;
            notify(`${agent.name} is signed out everywhere. It can verify itself again with its key.`);
          }}
        >
          <p>
            Every token of it ends now, with {plural(details.session_count, "session")}: what it is doing fails until it
            verifies itself again with its key. To keep it from that, suspend it.
          </p>
        </Destroy>
      )}
      {dialog === "revoke" && (
        <Destroy
          title="Revoke this agent"
          name={agent.name}
          what="name of the agent"
          label="Revoke for good"
          close={close}
          work={async () => {
            await change("POST", `${path}/revoke`);
            decided.value += 1;
          }}
        >
          <p>
            Every token and key of it ends now, and it never comes back: {plural(details.key_count, "key")},{" "}
            {plural(details.session_count, "session")}, last verified <Time at={details.last_verified_at} />. To stop it
            for a while, suspend it.
          </p>
        </Destroy>
      )}
      {dialog === "delete" && (
        <Destroy
          title="Delete this agent"
          name={agent.name}
          what="name of the agent"
          label="Delete"
          close={close}
          work={async () => {
            await change("DELETE", path);
            decided.value += 1;
            navigate("/console/agents", true);
          }}
        >
          <p>
            It stops working now, with {plural(details.key_count, "key")} and {plural(details.session_count, "session")}
            ; last verified <Time at={details.last_verified_at} />.
          </p>
        </Destroy>
      )}
    </>
  );
}

const OwnerName = ({ id }: { id: string }) =>
  id === me.value!.id ? <>You</> : seesAll.value ? <PersonName id={id} /> : <>Somebody else</>;

function PersonName({ id }: { id: string }) {
  const path = `/people/${segment(id)}`;
  const { data } = useLoad(`person ${id}`, (signal) => read<{ person: Person }>(path, {}, signal));
  return (
    <a href={`/console${path}`}>
      <Quoted text={data?.person.name ?? shortId(id)} most={80} brief />
    </a>
  );
}

const TIERS = [
  { value: "free", label: "Free, 60 a minute" },
  { value: "pro", label: "Pro, 300 a minute" },
  { value: "enterprise", label: "Enterprise, 1000 a minute" },
];

function TierChoice({ agent, changed }: { agent: AgentRow["agent"]; changed: () => void }) {
  const set = async ({ agent_id: id, updated_at }: AgentRow["agent"], tier: Tier) => {
    const answer = await change<{ agent: AgentRow["agent"] }>("PUT", `/agents/${segment(id)}/tier`, {
      tier,
      updated_at,
    });
    changed();
    return answer.agent;
  };
  return (
    <Choice
      label="Tier"
      value={agent.tier}
      options={TIERS}
      choose={(tier) => {
        void set(agent, tier as Tier)
          .then((now) => notify(`The tier of ${agent.name} is ${tier}.`, () => set(now, agent.tier)))
          .catch((error: unknown) => notify(asRequestError(error).message));
      }}
    />
  );
}

function Keys({ row, changed }: { row: AgentRow; changed: () => void }) {
  const id = row.agent.agent_id;
  const [isNew, setNew] = useState(false);
  const [rotated, setRotated] = useState<string>();
  const [deleting, setDeleting] = useState<KeyListResponse["keys"][number]>();
  const list = useList(`keys ${id} ${decided.value}`, async (cursor, signal) => {
    const page = await read<KeyListResponse>(`/agents/${segment(id)}/keys`, { cursor }, signal);
    return { rows: page.keys, next: page.next_cursor };
  });
  const nameOf = (key: KeyListResponse["keys"][number]) => key.label ?? (key.hint || key.id);
  const reload = () => {
    list.reload();
    changed();
  };
  return (
    <Card
      title="Keys"
      pad={false}
      action={
        isTheirs(row) && (
          <Button small onClick={() => setNew(true)}>
            New key
          </Button>
        )
      }
    >
      <Rows
        of={list}
        lines={2}
        empty={<Empty title="No key is valid.">Without one it cannot verify itself. Make a new one.</Empty>}
      >
        {(keys) => (
          <ul class="list">
            {keys.map((key) => (
              <li key={key.id}>
                <div>
                  <div class="t">
                    {key.label === null ? (
                      <span class="mono">…{nameOf(key)}</span>
                    ) : (
                      <Quoted text={key.label} most={100} />
                    )}{" "}
                    {key.type === "jwk" && <Badge tone="mute">Public key</Badge>}
                  </div>
                  <div class="s">
                    {key.label !== null && <span class="mono">…{key.hint} · </span>}used <Time at={key.last_used_at} />
                    {key.expires_at && (
                      <>
                        {" "}
                        · ends <Time at={key.expires_at} />
                      </>
                    )}
                    {key.allowed_ips && ` · only from ${key.allowed_ips.join(", ")}`}
                  </div>
                </div>
                {isTheirs(row) && (
                  <div class="row">
                    {key.type === "secret" && (
                      <ActionButton
                        small
                        work={async () => {
                          const { credentials } = await change<{ credentials: { api_key: string } }>(
                            "POST",
                            `/agents/${segment(id)}/rotate-key`,
                            { key_id: key.id },
                          );
                          setRotated(credentials.api_key);
                        }}
                      >
                        Rotate
                      </ActionButton>
                    )}
                    <Button small kind="danger" onClick={() => setDeleting(key)}>
                      Delete
                    </Button>
                  </div>
                )}
              </li>
            ))}
          </ul>
        )}
      </Rows>
      {isNew && <NewKey id={id} close={() => setNew(false)} made={reload} />}
      {rotated && (
        <SecretOnce
          title="The new API key"
          secret={rotated}
          file={`${id}.key`}
          close={() => {
            setRotated(undefined);
            reload();
          }}
        >
          <p class="faint">The former key is good for {duration(3600)} more.</p>
        </SecretOnce>
      )}
      {deleting && (
        <Destroy
          title="Delete this key"
          name={nameOf(deleting)}
          what="label, or the last characters, of the key"
          label="Delete"
          close={() => setDeleting(undefined)}
          work={async () => {
            await change("DELETE", `/agents/${segment(id)}/keys/${segment(deleting.id)}`);
            reload();
          }}
        >
          <p>
            The key ends now, and the sessions that it opened. It was last used <Time at={deleting.last_used_at} />.
          </p>
        </Destroy>
      )}
    </Card>
  );
}

function Sessions({ row }: { row: AgentRow }) {
  const id = row.agent.agent_id;
  const list = useList(`sessions ${id} ${decided.value}`, async (cursor, signal) => {
    const page = await read<SessionListResponse>(`/agents/${segment(id)}/sessions`, { cursor, limit: 10 }, signal);
    return { rows: page.sessions, next: page.next_cursor };
  });
  const [ending, setEnding] = useState<SessionListResponse["sessions"][number]>();
  return (
    <Card title="Sessions" pad={false}>
      <Rows of={list} lines={2} empty={<Empty title="No session.">One is opened when it verifies itself.</Empty>}>
        {(sessions) => (
          <ul class="list">
            {sessions.map((session) => (
              <li key={session.id}>
                <div>
                  <div class="t mono">
                    <Quoted text={session.ip_address || "address not known"} />
                  </div>
                  <div class="s">
                    since <Time at={session.created_at} /> · refreshed <Time at={session.last_refreshed_at} />
                    {session.scope && ` · only ${session.scope.join(" ")}`}
                    {session.dpop_jkt && " · bound to a key"}
                  </div>
                </div>
                {isTheirs(row) && (
                  <Button small kind="danger" onClick={() => setEnding(session)}>
                    End
                  </Button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Rows>
      {ending && (
        <EndSession
          session={ending}
          path={`/agents/${segment(id)}/sessions`}
          close={() => setEnding(undefined)}
          ended={() => {
            list.reload();
            notify("The session has ended. The agent can verify itself again with its key.");
          }}
        >
          <p>
            Its tokens end now, and what the agent does with them fails. It was last refreshed{" "}
            <Time at={ending.last_refreshed_at} />.
          </p>
        </EndSession>
      )}
    </Card>
  );
}
