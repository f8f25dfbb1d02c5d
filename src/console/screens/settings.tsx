import type { SettingsResponse } from "../../client/wire.ts";
import { useLoad } from "../load.ts";
import { read } from "../request.ts";
import { plural } from "../text.ts";
import { Badge, Card, PageHead, Quoted, Ready } from "../ui.tsx";
import { Health } from "./home.tsx";

const shown = (value: SettingsResponse["settings"][string]): string => {
  if (value === null) return "not set";
  return Array.isArray(value) ? value.join(", ") || "none" : String(value);
};

/** What the configuration is, and what is wrong with it. */
export function Settings() {
  const loaded = useLoad("settings", (signal) => read<SettingsResponse>("/settings", {}, signal));
  return (
    <>
      <PageHead
        title="Settings"
        sub="As they are in force. They are changed in wrangler.toml and with wrangler secret put, not here."
      />
      <div class="grid two">
        <Ready of={loaded} lines={8}>
          {({ settings, secrets, warnings }) => (
            <div class="stackgap">
              {warnings.length > 0 && (
                <Card title="What is wrong">
                  {warnings.map((warning) => (
                    <p>
                      <Quoted text={warning} most={400} />
                    </p>
                  ))}
                </Card>
              )}
              <Card title="Settings" pad={false}>
                <ul class="list">
                  {Object.entries(settings).map(([name, value]) => (
                    <li>
                      <div class="mono">{name}</div>
                      <div>
                        <Quoted text={shown(value)} most={300} />
                      </div>
                    </li>
                  ))}
                </ul>
              </Card>
              <Card title="Secrets" pad={false}>
                <ul class="list">
                  {Object.entries(secrets).map(([name, keys]) => (
                    <li>
                      <div class="mono">{name}</div>
                      <Badge tone={keys > 0 ? "good" : "mute"}>{keys > 0 ? plural(keys, "key") : "not set"}</Badge>
                    </li>
                  ))}
                </ul>
              </Card>
            </div>
          )}
        </Ready>
        <Health />
      </div>
    </>
  );
}
