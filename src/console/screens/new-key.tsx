import { useState } from "preact/hooks";
import type { CreateKeyResponse } from "../../client/wire.ts";
import { useAction } from "../load.ts";
import { change, segment } from "../request.ts";
import { Field, FormDialog, SecretOnce, TextField } from "../ui.tsx";

/** Makes another API key for an agent. */
export function NewKey({ id, close, made }: { id: string; close: () => void; made: () => void }) {
  const [label, setLabel] = useState("");
  const [life, setLife] = useState(String(90 * 86_400));
  const [created, setCreated] = useState<CreateKeyResponse>();
  const action = useAction(async () => {
    setCreated(
      await change<CreateKeyResponse>("POST", `/agents/${segment(id)}/keys`, {
        ...(label.trim() && { label }),
        ...(life && { expires_in: Number(life) }),
      }),
    );
    made();
  });
  if (created?.credentials) {
    return <SecretOnce title="The new API key" secret={created.credentials.api_key} file={`${id}.key`} close={close} />;
  }
  return (
    <FormDialog title="New key" action={action} label="Make the key" close={close}>
      <TextField
        label="Label"
        hint="Where it is used, so that it can be told from the others."
        maxLength={100}
        value={label}
        change={setLabel}
      />
      <Field label="It ends after">
        {(field) => (
          <select id={field} value={life} onChange={(event) => setLife(event.currentTarget.value)}>
            <option value={String(30 * 86_400)}>30 days</option>
            <option value={String(90 * 86_400)}>90 days</option>
            <option value={String(365 * 86_400)}>A year</option>
            <option value="">No end</option>
          </select>
        )}
      </Field>
    </FormDialog>
  );
}
