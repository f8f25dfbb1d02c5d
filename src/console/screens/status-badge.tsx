import { isWaiting, type AgentRow } from "../agents.ts";
import { Badge } from "../ui.tsx";

const TONES = {
  active: ["good", "Active"],
  inactive: ["mute", "Inactive"],
  suspended: ["bad", "Suspended"],
  revoked: ["mute", "Revoked"],
} as const;

/** How an agent stands, as a dot and a word. */
export function StatusBadge(row: AgentRow) {
  if (isWaiting(row)) return <Badge tone="warn">Pending</Badge>;
  const [tone, word] = TONES[row.agent.status];
  return <Badge tone={tone}>{word}</Badge>;
}
