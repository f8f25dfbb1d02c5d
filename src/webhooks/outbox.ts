import type { Event } from "../outbox/event.ts";
import { insertEventStatement } from "./store.ts";

/**
 * Announces an event together with the change that causes it: the statement goes into the same D1 batch, so that a crash
 * leaves both or neither.
 *
 * @param only SQL that says whether the change really happened, for conditional changes; its parameters start at ?6.
 */
export function insertEvent(
  db: D1Database,
  event: Event,
  only?: { readonly sql: string; readonly bindings: readonly unknown[] },
): D1PreparedStatement {
  return insertEventStatement(db, event, only?.sql, only?.bindings);
}
