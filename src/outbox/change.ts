import { randomBase62 } from "../crypto/random.ts";

/** The row in which a change wrote its id: `change_id`, `batch` in `activity`, or the id of a record. */
export interface ChangedRow {
  readonly table:
    | "activity"
    | "agents"
    | "audit_outbox"
    | "api_keys"
    | "refresh_families"
    | "sessions"
    | "capped_sessions"
    | "webhooks";
  /** The primary key; of `capped_sessions` and `audit_outbox` the agent's id. */
  readonly id: string;
  readonly changeId: string;
}

/** A new id for a change, which the change writes into the row that it changes. */
export const newChangeId = (): string => randomBase62(16);
