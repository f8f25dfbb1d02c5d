import { toActor } from "../../authority/actor-row.ts";
import { prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { AGENT_COLUMNS, toAgent, toList, type AgentRow } from "../agent-row.ts";
import type { DetailedAgent, Metadata } from "../details.ts";
import { KEY_STANDS } from "../../authority/token-row.ts";

/** A row of `agents` with the {@link DETAIL_COLUMNS}. */
export interface DetailedRow extends AgentRow {
  description: string | null;
  metadata: string | null;
  created_by: string | null;
  approved_by: string | null;
  grantable: string | null;
  owner_person_id: string | null;
  key_count: number;
  session_count: number;
}

/** The columns of {@link DetailedRow}, for statements that read `agents a`. The two counts read the keys and sessions of the agent. */
export const DETAIL_COLUMNS = sql`${AGENT_COLUMNS}, a.description, a.metadata, a.created_by, a.approved_by, a.grantable, a.owner_person_id,
  (SELECT count(*) FROM api_keys k WHERE k.agent_id = a.id AND ${KEY_STANDS})
    AS key_count,
  (SELECT count(*) FROM sessions s WHERE s.agent_id = a.id AND s.expires_at > ${DATABASE_NOW} AND s.ended_at IS NULL
    AND s.token_version = a.token_version AND a.status = 'active' AND (a.dpop_required = 0 OR s.dpop_jkt IS NOT NULL)) AS session_count`;

export function toDetailedAgent(row: DetailedRow): DetailedAgent {
  return {
    agent: toAgent(row),
    details: {
      description: row.description,
      metadata: row.metadata === null ? {} : (JSON.parse(row.metadata) as Metadata),
      createdBy: toActor(row.created_by),
      approvedBy: toActor(row.approved_by),
      grantable: toList(row.grantable) ?? [],
      ownerPersonId: row.owner_person_id,
      keyCount: row.key_count,
      sessionCount: row.session_count,
    },
  };
}

/** The statement that reads one agent with its details. */
export const selectDetailedAgent = (db: D1Database, id: string): D1PreparedStatement =>
  prepare(db, sql`SELECT ${DETAIL_COLUMNS} FROM agents a WHERE a.id = ${id}`);

export async function findDetailedAgentById(db: D1Database, id: string): Promise<DetailedAgent | undefined> {
  const row = await selectDetailedAgent(db, id).first<DetailedRow>();
  return row ? toDetailedAgent(row) : undefined;
}
