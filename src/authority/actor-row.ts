import { sql, type Sql } from "../database/sql.ts";
import type { Authority } from "./authority.ts";

/** What can do something. */
export const ACTOR_TYPES = ["agent", "person", "bootstrap", "system"] as const;

/** Who did something. `system` is AgentAuth itself, in a scheduled job. */
export interface Actor {
  readonly type: (typeof ACTOR_TYPES)[number];
  /** Null for the holder of the bootstrap token, and for AgentAuth itself. */
  readonly id: string | null;
  /** The name that the actor had at that time. */
  readonly name: string | null;
}

/** SQL for the JSON of the agent of a row of `agents`. @param row its name in the statement. */
export const actorOf = (row: Sql): Sql => sql`json_object('type', 'agent', 'id', ${row}.id, 'name', ${row}.name)`;

/** SQL for the JSON of the holder of the bootstrap token. */
export const BOOTSTRAP_JSON: Sql = sql`json_object('type', 'bootstrap', 'id', NULL, 'name', NULL)`;

/** Who made a link that the operator has made with the database, and not by a request. */
export const RECOVERY_ACTOR: Actor = { type: "system", id: null, name: "the operator, by npm run recover" };

/** SQL for the JSON of {@link RECOVERY_ACTOR}. */
export const RECOVERY_JSON: Sql = sql`json_object('type', 'system', 'id', NULL, 'name', ${RECOVERY_ACTOR.name})`;

/** SQL for the JSON of the {@link Actor} that writes, with the name that it has now. */
export function actorJson({ agentId, personId }: Authority): Sql {
  if (personId !== undefined) return personJson(personId);
  if (agentId === undefined) return BOOTSTRAP_JSON;
  return sql`json_object('type', 'agent', 'id', ${agentId}, 'name', (SELECT name FROM agents WHERE id = ${agentId}))`;
}

/** SQL for the JSON of a person, with the name that they have now. @param id their id, or SQL for it. */
export const personJson = (id: string | Sql): Sql =>
  sql`json_object('type', 'person', 'id', ${id}, 'name', (SELECT name FROM people WHERE id = ${id}))`;

/** Reads what {@link actorJson} has written. */
export const toActor = (json: string | null): Actor | null => (json === null ? null : (JSON.parse(json) as Actor));
