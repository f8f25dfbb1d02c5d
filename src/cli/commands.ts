import type { Command } from "./command.ts";
import { activityCommands } from "./commands/activity.ts";
import { agentCommands } from "./commands/agents.ts";
import { completionCommand } from "./commands/completion.ts";
import { deliveryCommands } from "./commands/deliveries.ts";
import { doctorCommands } from "./commands/doctor.ts";
import { explainCommands } from "./commands/explain.ts";
import { importCommands } from "./commands/import.ts";
import { keyCommands } from "./commands/keys.ts";
import { sessionCommands } from "./commands/sessions.ts";
import { signInCommands } from "./commands/sign-in.ts";
import { webhookCommands } from "./commands/webhooks.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  ...signInCommands,
  ...agentCommands,
  ...keyCommands,
  ...sessionCommands,
  ...activityCommands,
  ...webhookCommands,
  ...deliveryCommands,
  ...explainCommands,
  ...doctorCommands,
  ...importCommands,
  completionCommand(() => COMMANDS),
];
