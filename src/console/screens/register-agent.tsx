import { useState } from "preact/hooks";
import type { RegisterAgentResponse } from "../../client/wire.ts";
import { useAction } from "../load.ts";
import { change, segment } from "../request.ts";
import { navigate } from "../router.ts";
import { decided, me } from "../state.ts";
import { Button, Card, Fault, Field, Form, PageHead, SecretOnce, TextField } from "../ui.tsx";
import { PermissionBoxes } from "./permission-boxes.tsx";

const LIVES = [
  { value: "", label: "No end" },
  { value: String(30 * 86_400), label: "30 days" },
  { value: String(90 * 86_400), label: "90 days" },
  { value: String(365 * 86_400), label: "A year" },
];

export function RegisterAgent() {
  const [name, setName] = useState("");
  const [owner, setOwner] = useState(me.value!.email);
  const [description, setDescription] = useState("");
  const [life, setLife] = useState("");
  const [addresses, setAddresses] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [registered, setRegistered] = useState<RegisterAgentResponse>();
  const action = useAction(async () => {
    const allowed = addresses.split(/[\s,]+/).filter((one) => one !== "");
    setRegistered(
      await change<RegisterAgentResponse>("POST", "/agents/register", {
        name,
        owner_email: owner,
        ...(chosen.size > 0 && { permissions: [...chosen] }),
        ...(description.trim() && { description }),
        ...(life && { key_expires_in: Number(life) }),
        ...(allowed.length > 0 && { allowed_ips: allowed }),
      }),
    );
    decided.value += 1;
  });
  return (
    <>
      <PageHead title="Register an agent" sub="It gets an API key, which is shown once." />
      <Form action={action} class="form">
        <Card>
          <TextField
            label="Name"
            hint="3 to 100 characters. People read it in the log."
            required
            minLength={3}
            maxLength={100}
            autocomplete="off"
            value={name}
            change={setName}
          />
          <TextField label="Owner’s address" type="email" required maxLength={255} value={owner} change={setOwner} />
          <TextField label="Description" maxLength={500} value={description} change={setDescription} />
          <div class="two-fields">
            <Field label="The key ends after">
              {(id) => (
                <select id={id} value={life} onChange={(event) => setLife(event.currentTarget.value)}>
                  {LIVES.map(({ value, label }) => (
                    <option value={value}>{label}</option>
                  ))}
                </select>
              )}
            </Field>
            <TextField
              label="Only from these addresses"
              hint="Addresses or networks with commas between. Empty: from anywhere."
              value={addresses}
              change={setAddresses}
            />
          </div>
          <h2>What it may do</h2>
          <p class="sub">A write does not imply a read. Limits and ends are set afterwards, in its grants.</p>
          <PermissionBoxes chosen={chosen} choose={setChosen} />
          <Fault error={action.error} />
          <div class="actions">
            <Button type="submit" kind="primary" isRunning={action.isRunning}>
              Register
            </Button>
            <a class="btn" href="/console/agents">
              Cancel
            </a>
          </div>
        </Card>
      </Form>
      {registered && (
        <SecretOnce
          title="The agent’s API key"
          secret={registered.credentials.api_key}
          file={`${registered.agent.agent_id}.key`}
          close={() => navigate(`/console/agents/${segment(registered.agent.agent_id)}`, true)}
        >
          <p class="faint">
            Its id is <span class="mono">{registered.agent.agent_id}</span>, which is no secret.
          </p>
        </SecretOnce>
      )}
    </>
  );
}
