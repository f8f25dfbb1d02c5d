import type { Option } from "./arguments.ts";

/** Every option of every command: an option has one meaning, so it can stand before the command's words as well as after them. */
export const OPTIONS = {
  url: { type: "value", value: "URL", help: "The deployment; otherwise AGENTAUTH_URL, or the one signed in to last." },
  json: { type: "switch", help: "Print what the API answers, for programs." },
  help: { type: "switch", help: "Say how the command is used." },
  version: { type: "switch", help: "Print the version." },
  yes: { type: "switch", help: "Do not ask whether to go on." },
  "dry-run": { type: "switch", help: "Say what would be done, and do nothing." },

  agent: { type: "switch", help: "Sign in as an agent, with its id and API key." },
  id: { type: "value", value: "AGENT_ID", help: "An agent." },

  limit: { type: "value", value: "N", help: "How many are shown. The default is 50." },
  all: { type: "switch", help: "All of them, however many there are; of webhooks, those of all agents." },
  status: {
    type: "value",
    value: "STATUS",
    help: "Only those with this status.",
    values: ["active", "inactive", "suspended", "revoked"],
  },
  search: {
    type: "value",
    value: "TEXT",
    help: "Only those whose name, owner or id begins with it; of activity, that contain it.",
  },
  owner: { type: "value", value: "EMAIL", help: "The owner's address." },

  name: { type: "value", value: "NAME", help: "The agent's name." },
  permission: { type: "list", value: "PERMISSION", help: "A permission; may be repeated." },
  description: { type: "value", value: "TEXT", help: "What it is for." },
  "key-expires": { type: "value", value: "SECONDS", help: "How long the new key is valid." },
  where: { type: "value", value: "JSON", help: 'The limits of the grant, for example \'{"path.owner":"octo"}\'.' },
  expires: { type: "value", value: "TIME", help: "When the grant ends (RFC 3339)." },
  remove: { type: "switch", help: "Take the permissions away instead." },
  overlap: { type: "value", value: "SECONDS", help: "How long the former key or secret stays valid." },
  key: { type: "value", value: "KEY_ID", help: "This key only." },
  label: { type: "value", value: "TEXT", help: "What the key is called." },

  follow: { type: "switch", help: "Go on with what happens from now on." },
  since: { type: "value", value: "TIME", help: "From this time on: 15m, 2h, 7d, or RFC 3339." },
  until: { type: "value", value: "TIME", help: "Before this time." },
  action: { type: "value", value: "ACTION", help: "Only this action, for example gateway.call." },
  outcome: {
    type: "value",
    value: "OUTCOME",
    help: "Only this outcome.",
    values: ["success", "denied", "failed", "unknown"],
  },
  service: { type: "value", value: "SERVICE", help: "Only this service." },
  export: { type: "value", value: "FORMAT", help: "Write the whole log in this format.", values: ["jsonl", "csv"] },
  output: { type: "value", value: "FILE", help: "Write to this file, which must not exist yet." },

  "all-agents": { type: "switch", help: "Deliver the events of every agent." },
  webhook: { type: "value", value: "WEBHOOK_ID", help: "Only this webhook." },
  failed: { type: "switch", help: "Only those that failed." },
  event: { type: "value", value: "EVENT", help: "Only this event." },

  header: { type: "list", value: "'NAME: VALUE'", help: "A header of the request; may be repeated." },
  body: { type: "value", value: "TEXT", help: "The body of the request; - reads it from standard input." },

  local: { type: "switch", help: "Look at the clone on this machine that the program lies in." },
  check: { type: "switch", help: "Send each service a small request with its credential, to see whether it works." },

  format: {
    type: "value",
    value: "FORMAT",
    help: "What the file is, if its name does not say it.",
    values: ["jsonl", "json", "csv"],
  },
} as const satisfies Readonly<Record<string, Option>>;

export type OptionName = keyof typeof OPTIONS;

/** What every command takes. */
export const COMMON: readonly OptionName[] = ["url", "json", "help"];
