import { agentColumns, fromRow, type Agent, type AgentRow } from "./agent.ts";

/** The statements that create an agent and its first key. */
export function insertAgent(
  db: D1Database,
  agent: Agent,
  description: string | null,
  keyHash: string,
): D1PreparedStatement[] {
  return [
    db
      .prepare(
        `INSERT INTO agents (id, name, owner_email, description, permissions, status, tier, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)`,
      )
      .bind(
        agent.id,
        agent.name,
        agent.ownerEmail,
        description,
        JSON.stringify(agent.permissions),
        agent.status,
        agent.tier,
        agent.createdAt,
      ),
    db
      .prepare("INSERT INTO api_keys (hash, agent_id, created_at) VALUES (?1, ?2, ?3)")
      .bind(keyHash, agent.id, agent.createdAt),
  ];
}

export async function findAgent(db: D1Database, id: string): Promise<Agent | undefined> {
  const row = await db
    .prepare(`SELECT ${agentColumns("agents")} FROM agents WHERE id = ?1`)
    .bind(id)
    .first<AgentRow>();
  return row ? fromRow(row) : undefined;
}
