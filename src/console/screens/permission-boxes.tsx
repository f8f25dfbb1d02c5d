import { useId } from "preact/hooks";
import { readPermissions } from "../agents.ts";
import { useLoad } from "../load.ts";
import { Quoted, Ready } from "../ui.tsx";

/** Boxes for every permission that can be granted, by service; a wildcard takes those below it with it. */
export function PermissionBoxes({
  chosen,
  choose,
}: {
  chosen: ReadonlySet<string>;
  choose: (next: ReadonlySet<string>) => void;
}) {
  const list = useLoad("permissions", readPermissions);
  const toggle = (permission: string, isOn: boolean) => {
    const next = new Set(chosen);
    if (isOn) next.add(permission);
    else next.delete(permission);
    choose(next);
  };
  return (
    <Ready of={list} lines={8}>
      {({ permissions }) => (
        <>
          {Object.entries(permissions).map(([service, own]) => (
            <fieldset>
              <legend>
                <Quoted text={service} />{" "}
                {service !== "agentauth" && (
                  <a class="s" href={`/console/services/${encodeURIComponent(service)}`} target="_blank">
                    What they reach
                  </a>
                )}
              </legend>
              <Box
                permission={`${service}:*:*`}
                note="Everything of the service, also what no rule describes"
                isOn={chosen.has(`${service}:*:*`)}
                toggle={toggle}
              />
              {own.map((permission) => (
                <Box
                  permission={permission}
                  isOn={chosen.has(permission)}
                  isImplied={chosen.has(`${service}:*:*`)}
                  toggle={toggle}
                />
              ))}
            </fieldset>
          ))}
          <fieldset>
            <legend>AgentAuth itself</legend>
            <Box
              permission="*:*:*"
              note="Administers this deployment, and reaches every service. You confirm it with your passkey"
              isOn={chosen.has("*:*:*")}
              toggle={toggle}
            />
          </fieldset>
        </>
      )}
    </Ready>
  );
}

function Box({
  permission,
  note,
  isOn,
  isImplied = false,
  toggle,
}: {
  permission: string;
  note?: string;
  isOn: boolean;
  isImplied?: boolean;
  toggle: (permission: string, isOn: boolean) => void;
}) {
  const id = useId();
  return (
    <div class={note ? "check" : "check inset"}>
      <input
        id={id}
        type="checkbox"
        checked={isOn || isImplied}
        disabled={isImplied}
        onChange={(event) => toggle(permission, event.currentTarget.checked)}
      />
      <label for={id}>
        <span class="mono">
          <Quoted text={permission} />
        </span>
        {note && <span class="s"> {note}</span>}
      </label>
    </div>
  );
}
