/** One thing that an agent did, or that was done to it. */
export interface Activity {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /** Somebody else did it to the agent, so the address is not the agent's own. */
  readonly byOther: boolean;
}

export interface ActivityQuery {
  readonly limit: number;
  readonly offset: number;
  readonly agentId?: string | undefined;
  readonly status?: "success" | "failure" | undefined;
  /** Only activity that is older than the one with this id. */
  readonly before?: string | undefined;
}

export interface ActivityPage {
  /** The newest first, and one more than the limit if there are more. */
  readonly activities: Activity[];
  readonly total: number;
  readonly agentExists: boolean;
}
