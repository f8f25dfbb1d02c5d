import { useId, useState } from "preact/hooks";
import type { AgentResponse } from "../../client/wire.ts";
import type { AgentRow } from "../agents.ts";
import { useAction, useLoad } from "../load.ts";
import { change, read, segment } from "../request.ts";
import { isAdmin, me, notify, type Person } from "../state.ts";
import { Button, Field, FormDialog, TextField } from "../ui.tsx";

const RATES = [10, 30, 60, 120, 300, 600, 1000, 3000];

/** What the form holds, as text. */
interface Draft {
  readonly name: string;
  readonly description: string;
  readonly owner_email: string;
  readonly rate_limit: string;
  readonly allowed_ips: string;
  readonly owner_person_id: string;
}

/** A form as the API takes it. */
function valuesOf(draft: Draft) {
  const networks = draft.allowed_ips.split(/[\s,]+/).filter((one) => one !== "");
  return {
    name: draft.name,
    description: draft.description || null,
    owner_email: draft.owner_email,
    rate_limit: draft.rate_limit ? Number(draft.rate_limit) : null,
    allowed_ips: networks.length > 0 ? networks : null,
    owner_person_id: draft.owner_person_id || null,
  };
}

/**
 * Changes what is said of an agent; its limits and its owner are an administrator's. Only what was changed is sent. What somebody else
 * changes meanwhile is shown, and stays unless it was changed here as well.
 */
export function EditAgent({
  row: { agent, details },
  close,
  saved,
}: {
  row: AgentRow;
  close: () => void;
  saved: () => void;
}) {
  const was: Draft = {
    name: agent.name,
    description: details.description ?? "",
    owner_email: agent.owner_email,
    rate_limit: details.rate_limit === null ? "" : String(details.rate_limit),
    allowed_ips: (details.allowed_ips ?? []).join(", "),
    owner_person_id: details.owner_person_id ?? "",
  };
  const [edits, setEdits] = useState<Partial<Draft>>({});
  const now: Draft = { ...was, ...edits };
  const set = (name: keyof Draft) => (value: string) => setEdits({ ...edits, [name]: value });
  const changed = Object.keys(was).filter((name) => now[name as keyof Draft] !== was[name as keyof Draft]);
  const write = async (draft: Draft, readAt: string): Promise<string> => {
    const values = Object.entries(valuesOf(draft)).filter(([name]) => changed.includes(name));
    const answer = await change<AgentResponse>("PATCH", `/agents/${segment(agent.agent_id)}`, {
      ...Object.fromEntries(values),
      updated_at: readAt,
    });
    saved();
    return answer.agent.updated_at;
  };
  const action = useAction(async () => {
    if (changed.length > 0) {
      const writtenAt = await write(now, agent.updated_at);
      notify("The agent is changed.", () => write(was, writtenAt));
    }
    close();
  });
  // Only a help: any id can be typed.
  const people =
    useLoad("people to choose", (signal) =>
      isAdmin.value
        ? read<{ people: readonly Person[] }>("/people", { limit: 100 }, signal)
        : Promise.resolve(undefined),
    ).data?.people ?? [];
  const peopleId = useId();
  return (
    <FormDialog title="Edit the agent" action={action} label="Save" close={close}>
      <TextField label="Name" required minLength={3} maxLength={100} value={now.name} change={set("name")} />
      <TextField label="Description" maxLength={500} value={now.description} change={set("description")} />
      {isAdmin.value && (
        <>
          <TextField
            label="Owner’s address"
            type="email"
            required
            value={now.owner_email}
            change={set("owner_email")}
          />
          <Field
            label="Owned by"
            hint="The id of a person, who may then suspend it and see to its keys. Empty: nobody."
          >
            {(id, described) => (
              <div class="row">
                <input
                  id={id}
                  aria-describedby={described}
                  list={peopleId}
                  value={now.owner_person_id}
                  onInput={(event) => set("owner_person_id")(event.currentTarget.value)}
                />
                <datalist id={peopleId}>
                  {people.map(({ id: person, name, email }) => (
                    <option value={person} label={`${name}, ${email}`} />
                  ))}
                </datalist>
                <Button small onClick={() => set("owner_person_id")(me.value!.id)}>
                  Me
                </Button>
              </div>
            )}
          </Field>
          <Field label="Rate limit">
            {(id) => (
              <select id={id} value={now.rate_limit} onChange={(event) => set("rate_limit")(event.currentTarget.value)}>
                <option value="">That of the tier</option>
                {[...new Set([...RATES, ...(was.rate_limit ? [Number(was.rate_limit)] : [])])].map((rate) => (
                  <option value={String(rate)}>{rate} a minute</option>
                ))}
              </select>
            )}
          </Field>
          <TextField
            label="Only from these addresses"
            hint="Addresses or networks with commas between. Empty: from anywhere."
            value={now.allowed_ips}
            change={set("allowed_ips")}
          />
        </>
      )}
    </FormDialog>
  );
}
