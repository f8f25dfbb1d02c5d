import type { Event } from "./event.ts";

/**
 * The statement that puts an event into the outbox, for the batch of the change that it tells of.
 *
 * Nothing is written where nobody listens. `only` is a condition on the change itself, for changes that may turn out not
 * to happen.
 */
export function outboxStatement(
  db: D1Database,
  event: Event,
  only = "1",
  bindings: readonly unknown[] = [],
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
       SELECT ?1, ?2, ?3, ?4, ?5
       WHERE (${only}) AND EXISTS (
         SELECT 1 FROM webhooks w WHERE w.is_active = 1 AND (w.agent_id = ?2 OR w.all_agents = 1)
           AND EXISTS (SELECT 1 FROM json_each(w.events) e WHERE e.value = ?3))`,
    )
    .bind(event.id, event.agentId, event.name, event.at, JSON.stringify(event.data), ...bindings);
}
