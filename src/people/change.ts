import type { PersonAuthority } from "../authority/authority.ts";
import type { RecordOrigin } from "../outbox/record.ts";

/** A request that changes people, for the audit log, and when, in milliseconds. */
export interface RecordedRequest {
  readonly now: number;
  readonly origin: RecordOrigin;
}

/** The operator, who has the database itself. */
export interface RecoveryRequest extends RecordedRequest {
  readonly by: "operator";
}

/** A change of people, and who makes it. */
export interface PersonalChange extends RecordedRequest {
  readonly by: PersonAuthority;
}
