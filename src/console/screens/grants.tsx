import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Agent, GrantConditions, GrantListResponse, ServiceResponse } from "../../client/wire.ts";
import {
  compareGrants,
  CONDITION_OPERATORS,
  limitsInWords,
  parseCondition,
  toDraft,
  typedCondition,
  type DraftGrant,
} from "../draft-grants.ts";
import { useAction, useLoad } from "../load.ts";
import { change, isOutdated, read, segment } from "../request.ts";
import { isAdmin, notify, seesAll } from "../state.ts";
import { Button, Card, ChangeLines, Choice, Dialog, Empty, Fault, Field, Quoted, Ready, Tag, Time } from "../ui.tsx";
import { PermissionBoxes } from "./permission-boxes.tsx";

/** What an agent may do, how far, and until when. An owner sees the permissions only. */
export function Grants({ agent, changed }: { agent: Agent; changed: () => void }) {
  if (seesAll.value) return <GrantList agent={agent} changed={changed} />;
  return (
    <Card title="Grants">
      <div class="tags">
        {agent.permissions.map((permission) => (
          <Tag text={permission} />
        ))}
      </div>
      {agent.permissions.length === 0 && <p>Nothing.</p>}
    </Card>
  );
}

const pathOf = (agent: Agent): string => `/agents/${segment(agent.agent_id)}/grants`;

function GrantList({ agent, changed }: { agent: Agent; changed: () => void }) {
  const loaded = useLoad(`grants ${agent.agent_id}`, (signal) => read<GrantListResponse>(pathOf(agent), {}, signal));
  // Read again in place, so that what is being written stays when somebody else changes the agent.
  const readAt = useRef(agent.updated_at);
  useEffect(() => {
    if (readAt.current === agent.updated_at) return;
    readAt.current = agent.updated_at;
    loaded.reload();
  }, [agent.updated_at]);
  const [isEditing, setEditing] = useState(false);
  const mayEdit = isAdmin.value && agent.status !== "revoked";
  return (
    <Card
      title="Grants"
      pad={false}
      action={
        mayEdit &&
        loaded.data && (
          <Button small onClick={() => setEditing(true)}>
            Change
          </Button>
        )
      }
    >
      <Ready of={loaded} lines={3}>
        {({ grants, grants_version: version }) => (
          <>
            {grants.length === 0 && <Empty title="It may do nothing.">Its requests are all denied.</Empty>}
            <ul class="list">
              {grants.map((grant) => (
                <li key={grant.id}>
                  <div>
                    <Tag text={grant.permission} />
                    {limitsInWords(grant.where).map((line) => (
                      <div class="s mono">
                        <Quoted text={line} most={300} />
                      </div>
                    ))}
                    {!grant.where && <div class="s">without limits</div>}
                  </div>
                  <div class="s">
                    {grant.expires_at ? (
                      <>
                        ends <Time at={grant.expires_at} />
                      </>
                    ) : (
                      "no end"
                    )}
                  </div>
                </li>
              ))}
            </ul>
            {isEditing && (
              <EditGrants
                agent={agent}
                before={grants.map(toDraft)}
                version={version}
                close={() => setEditing(false)}
                reload={() => {
                  loaded.reload();
                  changed();
                }}
              />
            )}
          </>
        )}
      </Ready>
    </Card>
  );
}

/** Sends grants, on the condition that they are those of `version` still. */
const putGrants = (agent: Agent, grants: readonly DraftGrant[], version: number): Promise<GrantListResponse> =>
  change<GrantListResponse>("PUT", pathOf(agent), { grants, grants_version: version });

function EditGrants({
  agent,
  before,
  version,
  close,
  reload,
}: {
  agent: Agent;
  before: readonly DraftGrant[];
  version: number;
  close: () => void;
  reload: () => void;
}) {
  const [draft, setDraft] = useState(before);
  const [isAdding, setAdding] = useState(false);
  const lines = compareGrants(before, draft);
  const isChanged = lines.some(({ kind }) => kind !== "same");
  const action = useAction(async () => {
    const written = await putGrants(agent, draft, version);
    reload();
    close();
    notify(`What ${agent.name} may do is changed, from its next request on.`, async () => {
      await putGrants(agent, before, written.grants_version);
      reload();
    });
  });
  const replace = (index: number, next: DraftGrant | undefined) =>
    setDraft(draft.flatMap((one, at) => (at !== index ? [one] : next ? [next] : [])));
  return (
    <Dialog title="What it may do" close={close} drawer>
      <div>
        {draft.map((grant, index) => (
          <EditGrant key={`${index} ${grant.permission}`} grant={grant} set={(next) => replace(index, next)} />
        ))}
        <Button onClick={() => setAdding(!isAdding)} aria-expanded={isAdding}>
          Add permissions
        </Button>
      </div>
      {isAdding && (
        <div>
          <PermissionBoxes
            chosen={new Set(draft.map(({ permission }) => permission))}
            choose={(next) => {
              const kept = draft.filter(({ permission }) => next.has(permission));
              const had = new Set(draft.map(({ permission }) => permission));
              setDraft([...kept, ...[...next].filter((one) => !had.has(one)).map((permission) => ({ permission }))]);
            }}
          />
        </div>
      )}
      <div>
        <h3>Before and after</h3>
        <ChangeLines lines={lines} />
        {lines.length === 0 && <p class="faint">Nothing.</p>}
        <p class="hint">
          What is taken away ends with the next request, also for tokens that it has. What is added needs a new token.
        </p>
        <Fault error={action.error} />
        {action.error && isOutdated(action.error) && (
          <p class="hint">Before is how it is now. Look at what saving would change, and save again.</p>
        )}
        <div class="actions">
          <Button onClick={close}>Cancel</Button>
          <Button kind="primary" disabled={!isChanged} isRunning={action.isRunning} onClick={() => void action.run()}>
            Save
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

/** Local time as `datetime-local` takes it. */
const toLocal = (at: string): string => {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

/** The fields by which grants of a permission can be limited: those of every rule that needs it. */
const readLimitable = async (permission: string, signal: AbortSignal): Promise<string[]> => {
  const [name = ""] = permission.split(":");
  const { rules } = await read<ServiceResponse>(`/services/${segment(name)}`, {}, signal);
  return [...new Set(rules.filter((rule) => rule.required.includes(permission)).flatMap((rule) => rule.limitable))];
};

function EditGrant({ grant, set }: { grant: DraftGrant; set: (next: DraftGrant | undefined) => void }) {
  const { permission, where = {}, expires_at: end } = grant;
  const fieldsId = useId();
  // Only a help: without it any field can be typed, and the API says which there are.
  const fields = useLoad(`limitable ${permission}`, (signal) => readLimitable(permission, signal)).data ?? [];
  const [field, setField] = useState("");
  const [operator, setOperator] = useState("eq");
  const [typed, setTyped] = useState("");
  const setWhere = (next: Record<string, GrantConditions>) => {
    const { where: _, ...rest } = grant;
    set(Object.keys(next).length > 0 ? { ...rest, where: next } : rest);
  };
  const condition = parseCondition(field.trim(), operator, typed);
  const isLimitable = !permission.endsWith(":*:*");
  return (
    <fieldset>
      <legend class="mono">
        <Quoted text={permission} />
      </legend>
      {Object.entries(where).flatMap(([name, conditions]) =>
        Object.entries(conditions).map(([kind, value]) => (
          <div class="row apart">
            <span class="mono">
              <Quoted
                text={`${name} ${CONDITION_OPERATORS.find((one) => one.value === kind)?.label ?? kind} ${typedCondition(name, value)}`}
                most={300}
              />
            </span>
            <Button
              small
              onClick={() => {
                const { [kind as keyof GrantConditions]: _, ...others } = conditions;
                const { [name]: __, ...rest } = where;
                setWhere(Object.keys(others).length > 0 ? { ...rest, [name]: others } : rest);
              }}
            >
              Remove
            </Button>
          </div>
        )),
      )}
      {isLimitable && (
        <div class="row limit">
          <input
            aria-label={`Field to limit ${permission} by`}
            placeholder="path.owner"
            list={fieldsId}
            value={field}
            onInput={(event) => setField(event.currentTarget.value)}
          />
          <datalist id={fieldsId}>
            {fields.map((name) => (
              <option value={name} />
            ))}
          </datalist>
          <Choice label="Condition" value={operator} options={CONDITION_OPERATORS} choose={setOperator} />
          <input
            aria-label="Value"
            placeholder="octo"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
          <Button
            small
            disabled={!condition || field.trim() === ""}
            onClick={() => {
              const name = field.trim();
              setWhere({ ...where, [name]: { ...where[name], ...condition } });
              setField("");
              setTyped("");
            }}
          >
            Limit
          </Button>
        </div>
      )}
      {permission !== "*:*:*" && (
        <Field label="Ends">
          {(id) => (
            <input
              id={id}
              type="datetime-local"
              value={end ? toLocal(end) : ""}
              onChange={(event) => {
                const { expires_at: _, ...rest } = grant;
                const { value } = event.currentTarget;
                set(value ? { ...rest, expires_at: new Date(value).toISOString() } : rest);
              }}
            />
          )}
        </Field>
      )}
      <Button small kind="danger" onClick={() => set(undefined)}>
        Take away
      </Button>
    </fieldset>
  );
}
