import { sql, type Sql } from "../database/sql.ts";
import type { EventName } from "../outbox/event.ts";
import { nameOfActor, type AuditEntry } from "../outbox/record.ts";
import { insertRecordOf } from "../outbox/records.ts";
import { ADMIN } from "../permissions/grammar.ts";
import type { Webhook } from "./webhook.ts";

/** A row of `webhooks` with the {@link WEBHOOK_COLUMNS}. */
export interface WebhookRow {
  id: string;
  agent_id: string;
  url: string;
  events: string;
  description: string | null;
  is_active: number;
  all_agents: number;
  disabled_at: number | null;
  disabled_reason: string | null;
  previous_secret_expires_at: number | null;
  created_at: number;
  updated_at: number;
}

/** The columns of {@link WebhookRow}. */
export const WEBHOOK_COLUMNS = sql`id, agent_id, url, events, description, is_active, all_agents, disabled_at, disabled_reason,
  previous_secret_expires_at, created_at, updated_at`;

/** JSON of what a record says of a webhook `w`. The rest of a URL can be a secret between its owner and the receiver. */
const WEBHOOK_JSON = sql`json_object('id', w.id, 'host', w.host, 'events', json(iif(json_valid(w.events), w.events, '[]')),
  'description', w.description, 'is_active', json(iif(w.is_active, 'true', 'false')), 'all_agents', json(iif(w.all_agents, 'true', 'false')))`;

/**
 * The statement that puts the record of a change of webhooks `w` into the outbox of the audit log. It is about the agent whose webhook it is,
 * and its message says who did it if that was somebody else.
 *
 * @param from `FROM webhooks w WHERE …`.
 */
export const insertWebhookRecord = (
  db: D1Database,
  record: AuditEntry,
  from: Sql,
  { before, after }: { readonly before?: true; readonly after?: true | Sql } = {},
): D1PreparedStatement =>
  insertRecordOf(db, record, {
    from,
    fields: {
      agentId: sql`w.agent_id`,
      message: sql`${record.message} || iif(w.agent_id IS ${record.actor?.id ?? null}, '', ${` by ${nameOfActor(record)}`})`,
      ...(before && { before: WEBHOOK_JSON }),
      ...(after && { after: after === true ? WEBHOOK_JSON : after }),
    },
  });

export function toWebhook(row: WebhookRow): Webhook {
  return {
    id: row.id,
    agentId: row.agent_id,
    url: row.url,
    events: toEvents(row.events),
    description: row.description,
    isActive: row.is_active === 1,
    allAgents: row.all_agents === 1,
    disabledAt: row.disabled_at,
    disabledReason: row.disabled_reason,
    previousSecretExpiresAt: row.previous_secret_expires_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** The events that a webhook subscribes to. A list that is not JSON, which the product does not write, subscribes to nothing. */
function toEvents(text: string): EventName[] {
  try {
    const events: unknown = JSON.parse(text);
    return Array.isArray(events) ? (events as EventName[]) : [];
  } catch {
    return [];
  }
}

/** SQL that is true if a webhook `w` is for all agents and its owner is still an active administrator. */
export const IS_FOR_ALL = sql`w.all_agents = 1 AND EXISTS (SELECT 1 FROM agents a
    WHERE a.id = w.agent_id AND a.status = 'active' AND instr(a.permissions, ${`"${ADMIN}"`}))`;

interface ListenedEvent {
  readonly agentId: string | Sql;
  readonly name: string | Sql;
  /** Milliseconds. */
  readonly at: number | Sql;
}

/**
 * SQL for the active webhooks that an event goes to, as `w`, with a WHERE clause that can be extended: the agent's own webhooks,
 * and those for all agents, if they were registered before it happened. It is a union because an `OR` of the two would read every
 * webhook.
 *
 * Each part of the event is a value, or SQL of the statement around it.
 */
export const listenersOf = ({ agentId, name, at }: ListenedEvent): Sql => sql`(
    SELECT * FROM webhooks WHERE agent_id = ${agentId}
    UNION ALL SELECT * FROM webhooks w WHERE ${IS_FOR_ALL} AND agent_id <> ${agentId}
  ) w WHERE w.is_active = 1 AND w.created_at <= ${at}
    AND EXISTS (SELECT 1 FROM json_each(iif(json_valid(w.events), w.events, '[]')) e WHERE e.value = ${name})`;
