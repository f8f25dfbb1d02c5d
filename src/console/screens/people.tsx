import { useState } from "preact/hooks";
import { useAction, useList, useLoad } from "../load.ts";
import { change, read, segment } from "../request.ts";
import { navigate } from "../router.ts";
import { me, notify, ROLE_NAMES, type Person } from "../state.ts";
import { sessionName } from "../user-agent.ts";
import {
  ActionButton,
  Badge,
  Button,
  Card,
  Copyable,
  Destroy,
  Empty,
  Facts,
  FormDialog,
  PageHead,
  Quoted,
  Ready,
  ReadyScreen,
  Rows,
  SecretOnce,
  TextField,
  Time,
} from "../ui.tsx";
import { EndSession } from "./end-session.tsx";

const isAdministrator = (): boolean => me.value?.role === "admin";

const ROLES = [
  ["owner", "looks after agents that are theirs, and may suspend them"],
  ["auditor", "reads everything and changes nothing"],
  ["admin", "administers the deployment, people included"],
] as const;

interface PeopleResponse {
  readonly people: readonly Person[];
  readonly next_cursor: string | null;
}

interface Invited {
  readonly person: Person;
  readonly link: { readonly url: string; readonly expires_at: string };
}

interface PersonSession {
  readonly id: string;
  readonly method: "passkey" | "oidc" | "link";
  readonly created_at: string;
  readonly last_used_at: string;
  readonly ip_address: string;
  readonly user_agent: string;
  readonly client: string | null;
  readonly current: boolean;
}

interface Passkey {
  readonly id: string;
  readonly label: string;
  readonly created_at: string;
  readonly decides_from: string;
  readonly last_used_at: string | null;
}

export function PeopleList() {
  const [isInviting, setInviting] = useState(false);
  const list = useList("people", async (cursor, signal) => {
    const { people, next_cursor: next } = await read<PeopleResponse>("/people", { cursor, limit: 50 }, signal);
    return { rows: people, next };
  });
  return (
    <>
      <PageHead title="People" sub="Who administers this deployment, owns agents, or looks on.">
        {isAdministrator() && (
          <Button kind="primary" onClick={() => setInviting(true)}>
            Invite somebody
          </Button>
        )}
      </PageHead>
      <Card pad={false}>
        <Rows of={list} empty={<Empty title="Nobody." />}>
          {(people) => (
            <table class="stack">
              <thead>
                <tr>
                  <th>Person</th>
                  <th>Role</th>
                  <th class="hide">Status</th>
                  <th class="num hide">Signed in</th>
                </tr>
              </thead>
              <tbody>
                {people.map((person) => (
                  <tr key={person.id}>
                    <td>
                      <a class="t" href={`/console/people/${segment(person.id)}`}>
                        <Quoted text={person.name} most={100} brief />
                      </a>
                      <div class="s">
                        <Quoted text={person.email} most={120} />
                      </div>
                    </td>
                    <td>{ROLE_NAMES[person.role]}</td>
                    <td class="hide">
                      <PersonBadge person={person} />
                    </td>
                    <td class="num hide">
                      <Time at={person.last_signed_in_at} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Rows>
      </Card>
      {isInviting && <Invite close={() => setInviting(false)} invited={list.reload} />}
    </>
  );
}

function PersonBadge({ person }: { person: Person }) {
  if (person.status === "suspended") return <Badge tone="bad">Suspended</Badge>;
  return person.last_signed_in_at === null ? <Badge tone="warn">Invited</Badge> : <Badge tone="good">Active</Badge>;
}

/** The link that signs somebody in once. It is a secret: whoever opens it is that person. */
const LinkOnce = ({ invited, close }: { invited: Invited; close: () => void }) => (
  <SecretOnce title="The sign-in link" secret={invited.link.url} file="sign-in-link.txt" close={close}>
    <p>
      Give it to <Quoted text={invited.person.email} most={120} /> and to nobody else: it works once, until{" "}
      <Time at={invited.link.expires_at} exact />, and whoever opens it makes the passkey.
    </p>
  </SecretOnce>
);

function Invite({ close, invited }: { close: () => void; invited: () => void }) {
  const [email, setEmail] = useState("");
  const [name, setName] = useState("");
  const [role, setRole] = useState<Person["role"]>("owner");
  const [made, setMade] = useState<Invited>();
  const action = useAction(async () => {
    setMade(await change<Invited>("POST", "/people", { email, role, ...(name.trim() && { name }) }));
    invited();
  });
  if (made) return <LinkOnce invited={made} close={close} />;
  return (
    <FormDialog title="Invite somebody" action={action} label="Invite" close={close}>
      <TextField label="E-mail" type="email" required maxLength={255} value={email} change={setEmail} />
      <TextField label="Name" hint="Empty: what stands before the @." maxLength={100} value={name} change={setName} />
      <fieldset>
        <legend>Role</legend>
        {ROLES.map(([value, what]) => (
          <div class="check">
            <input
              id={`role-${value}`}
              type="radio"
              name="role"
              checked={role === value}
              onChange={() => setRole(value)}
            />
            <label for={`role-${value}`}>
              {ROLE_NAMES[value]} <span class="s">{what}</span>
            </label>
          </div>
        ))}
      </fieldset>
      <p class="hint">You confirm it with your passkey.</p>
    </FormDialog>
  );
}

export function PersonScreen({ id }: { id: string }) {
  const path = `/people/${segment(id)}`;
  const loaded = useLoad(`person ${id}`, async (signal) => (await read<{ person: Person }>(path, {}, signal)).person);
  return (
    <ReadyScreen of={loaded} kind="Person" all={{ href: "/console/people", name: "All people" }}>
      {(person) => <OnePerson person={person} reload={loaded.reload} />}
    </ReadyScreen>
  );
}

function OnePerson({ person, reload }: { person: Person; reload: () => void }) {
  const path = `/people/${segment(person.id)}`;
  const [isDeleting, setDeleting] = useState(false);
  const [link, setLink] = useState<Invited>();
  const mayChange = isAdministrator();
  const isSelf = person.id === me.value!.id;
  const patch = async (values: object) => {
    await change("PATCH", path, values);
    reload();
  };
  return (
    <>
      <PageHead
        title={<Quoted text={person.name} most={100} />}
        sub={
          <>
            <PersonBadge person={person} /> <Quoted text={person.email} most={200} />
          </>
        }
      >
        {mayChange && (
          <>
            <ActionButton
              work={async () =>
                setLink({ person, ...(await change<Omit<Invited, "person">>("POST", `${path}/sign-in-links`)) })
              }
            >
              New sign-in link
            </ActionButton>
            {!isSelf && (
              <ActionButton
                work={async () => {
                  const next = person.status === "active" ? "suspended" : "active";
                  await patch({ status: next });
                  notify(
                    next === "active"
                      ? `${person.name} may sign in again.`
                      : `${person.name} is suspended and signed out.`,
                    () => patch({ status: person.status }),
                  );
                }}
              >
                {person.status === "active" ? "Suspend" : "Activate"}
              </ActionButton>
            )}
            <Button kind="danger" onClick={() => setDeleting(true)}>
              Delete
            </Button>
          </>
        )}
      </PageHead>
      <div class="grid two">
        <div class="stackgap">
          <PersonSessions path={path} />
          <Passkeys path={path} isSelf={isSelf} />
        </div>
        <Card title="About">
          <Facts
            rows={[
              ["Role", mayChange && !isSelf ? <RoleChoice person={person} patch={patch} /> : ROLE_NAMES[person.role]],
              ["Since", <Time at={person.created_at} />],
              ["Signed in", <Time at={person.last_signed_in_at} />],
              ["Id", <Copyable value={person.id} short />],
            ]}
          />
          {isSelf && (
            <p>
              <a href="/account">Your account</a> has your passkeys, and what you were told.
            </p>
          )}
        </Card>
      </div>
      {link && <LinkOnce invited={link} close={() => setLink(undefined)} />}
      {isDeleting && (
        <Destroy
          title="Delete this person"
          name={person.email}
          what="address"
          label="Delete"
          close={() => setDeleting(false)}
          work={async () => {
            await change("DELETE", path);
            navigate("/console/people", true);
          }}
        >
          <p>
            Their sessions and passkeys end now, and their agents belong to nobody. You confirm it with your passkey.
          </p>
        </Destroy>
      )}
    </>
  );
}

function RoleChoice({ person, patch }: { person: Person; patch: (values: object) => Promise<void> }) {
  const [role, setRole] = useState(person.role);
  return (
    <div class="row">
      <select aria-label="Role" value={role} onChange={(event) => setRole(event.currentTarget.value as Person["role"])}>
        {ROLES.map(([value]) => (
          <option value={value} selected={value === role}>
            {ROLE_NAMES[value]}
          </option>
        ))}
      </select>
      {role !== person.role && (
        <ActionButton
          small
          kind="primary"
          work={async () => {
            await patch({ role });
            notify(`${person.name} is ${ROLE_NAMES[role]}.`, () => patch({ role: person.role }));
          }}
        >
          Save
        </ActionButton>
      )}
    </div>
  );
}

const METHODS = { passkey: "a passkey", oidc: "the provider’s login", link: "a link" } as const;

function PersonSessions({ path }: { path: string }) {
  const list = useList(`sessions of ${path}`, async (cursor, signal) => {
    const page = await read<{ sessions: PersonSession[]; next_cursor: string | null }>(
      `${path}/sessions`,
      { cursor, limit: 10 },
      signal,
    );
    return { rows: page.sessions, next: page.next_cursor };
  });
  const [ending, setEnding] = useState<PersonSession>();
  return (
    <Card title="Where they are signed in" pad={false}>
      <Rows of={list} lines={2} empty={<p class="faint pad">They are signed in nowhere.</p>}>
        {(sessions) => (
          <ul class="list">
            {sessions.map((session) => (
              <li key={session.id}>
                <div>
                  <div class="t">
                    <Program of={session} />
                  </div>
                  <div class="s">
                    by {METHODS[session.method]} <Time at={session.created_at} /> · used{" "}
                    <Time at={session.last_used_at} /> · <Quoted text={session.ip_address || "address not known"} />
                  </div>
                </div>
                {!session.current && isAdministrator() && (
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
          path={`${path}/sessions`}
          close={() => setEnding(undefined)}
          ended={() => {
            list.reload();
            notify("The session has ended. They can sign in again with their passkey.");
          }}
        >
          <p>
            They are signed out there now, and lose what they were writing. It was last used{" "}
            <Time at={ending.last_used_at} />.
          </p>
        </EndSession>
      )}
    </Card>
  );
}

/** Where a session is: a short name, and when that is opened, what the program has called itself, which may be anything. */
function Program({ of: session }: { of: PersonSession }) {
  const [name, said] = [sessionName(session), session.user_agent];
  if (name === null) return <Quoted text={said || "Another browser"} most={120} />;
  if (!said) return <Quoted text={name} most={120} />;
  return (
    <details>
      <summary>
        <Quoted text={name} most={120} brief />
      </summary>
      <div class="s">
        It calls itself <Quoted text={said} most={200} />
      </div>
    </details>
  );
}

function Passkeys({ path, isSelf }: { path: string; isSelf: boolean }) {
  const loaded = useLoad(
    `passkeys of ${path}`,
    async (signal) => (await read<{ passkeys: Passkey[] }>(`${path}/passkeys`, {}, signal)).passkeys,
  );
  const [deleting, setDeleting] = useState<Passkey>();
  return (
    <Card title="Passkeys" pad={false} action={isSelf && <a href="/account">Add one</a>}>
      <Ready of={loaded} lines={2}>
        {(passkeys) => (
          <ul class="list">
            {passkeys.map((passkey) => (
              <li key={passkey.id}>
                <div>
                  <div class="t">
                    <Quoted text={passkey.label} most={100} />
                  </div>
                  <div class="s">
                    made <Time at={passkey.created_at} /> · used <Time at={passkey.last_used_at} />
                    {Date.parse(passkey.decides_from) > Date.now() && (
                      <>
                        {" "}
                        · confirms acts <Time at={passkey.decides_from} />
                      </>
                    )}
                  </div>
                </div>
                {(isSelf || isAdministrator()) && (
                  <Button small kind="danger" onClick={() => setDeleting(passkey)}>
                    Delete
                  </Button>
                )}
              </li>
            ))}
            {passkeys.length === 0 && (
              <li>
                <span class="faint">None yet. A sign-in link lets them make one.</span>
              </li>
            )}
          </ul>
        )}
      </Ready>
      {deleting && (
        <Destroy
          title="Delete this passkey"
          name={deleting.label}
          what="name of the passkey"
          label="Delete"
          close={() => setDeleting(undefined)}
          work={async () => {
            await change("DELETE", `${path}/passkeys/${segment(deleting.id)}`);
            loaded.reload();
          }}
        >
          <p>
            It signs nobody in any more. It was last used <Time at={deleting.last_used_at} />.
          </p>
        </Destroy>
      )}
    </Card>
  );
}
