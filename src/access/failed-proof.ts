import type { Status } from "../agents/agent.ts";

/** What somebody waits for whose key is right, but whose agent is not active. */
export const WHAT_TO_WAIT_FOR: Readonly<Record<Exclude<Status, "active">, string>> = {
  inactive: "It can verify once an administrator has approved it.",
  suspended: "It can verify again once an administrator has activated it.",
  revoked: "It stays revoked: register another agent.",
};
