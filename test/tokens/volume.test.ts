import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { sweepSessions } from "../../src/tokens/sweep.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW } from "../support/extents.ts";

/** D1's own statement of the size of the database, in bytes. */
const sizeOf = async () => (await env.DB.prepare("SELECT 1").run()).meta.size_after;
const count = (table: string) => env.DB.prepare(`SELECT count(*) AS n FROM ${table}`).first<number>("n");

/** Ids of 24 characters, as the product makes them, in no order. */
const random = "substr(lower(hex(randomblob(12))), 1, 24)";
const NUMBERS = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)`;

/** Rows as long as those of the product: see `openSession`. In steps, because D1 bounds a statement's time. */
async function insert(total: number, statement: string): Promise<number> {
  const before = await sizeOf();
  for (let done = 0; done < total; done += 6000) {
    await env.DB.prepare(`${NUMBERS} ${statement}`)
      .bind(Math.min(6000, total - done))
      .run();
  }
  return ((await sizeOf()) - before) / total;
}

const numRuns = 30_000;
it(
  `a session takes less than 900 bytes, an agent with a key less than 1,600, and ${numRuns * 3} sessions are swept 500 at a time, for six rows read each`,
  SLOW,
  async () => {
    await env.DB.prepare("DELETE FROM sessions").run();
    const agents = await insert(
      numRuns,
      `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at, change_id)
       SELECT 'agt_' || ${random}, 'Support agent ' || i, 'support@example.com', '["zendesk:tickets:read","slack:messages:write"]',
         'active', 'free', 1800000000000 + i, 1800000000000 + i, 'change0123456789' FROM n`,
    );
    const keys = await insert(
      numRuns,
      `INSERT INTO api_keys (id, agent_id, hash, pepper_id, hint, created_at)
       SELECT 'key_' || ${random}, id, lower(hex(randomblob(32))), '1', 'abcd', 1800000000000
       FROM (SELECT id FROM agents WHERE change_id = 'change0123456789' AND id NOT IN (SELECT agent_id FROM api_keys) LIMIT ?1)`,
    );
    const sessions = await insert(
      numRuns * 3,
      `INSERT INTO sessions (id, agent_id, key_id, token_version, generation, hash, pepper_id, previous_hash, previous_pepper_id,
         rotated_at, previous_rotated_at, created_at, last_refreshed_at, expires_at, absolute_expires_at, auth_time, ip_address, change_id)
       SELECT 'ses_' || ${random}, id, 'key_' || ${random}, 1, 720, substr(hex(randomblob(22)), 1, 43), '1',
         substr(hex(randomblob(22)), 1, 43), '1', 1800000000000, 1800000000000, 1800000000000, 1800000000000,
         1800000000000 + abs(random() % 1000000), 1800000000000, 1800000000000, '203.0.113.7', 'change0123456789'
       FROM (SELECT a.id FROM agents a, json_each('[1,2,3]') WHERE a.change_id = 'change0123456789'
         AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.agent_id = a.id) LIMIT ?1)`,
    );
    console.log(`bytes: ${Math.round(agents)} an agent, ${Math.round(keys)} a key, ${Math.round(sessions)} a session`);
    expect(sessions).toBeLessThan(900);
    expect(agents + keys).toBeLessThan(1600);

    const total = (await count("sessions"))!;
    const counter = countOperations();
    const db = counter.overrides.DB as D1Database;
    let rounds = 0;
    const sweep = async () => {
      for (let swept = 500; swept === 500; rounds++) swept = await sweepSessions(db, 3600, 1_900_000_000_000, 500);
    };
    const start = performance.now();
    const { awaited } = await counter.run(sweep);
    const seconds = (performance.now() - start) / 1000;
    // How long it takes is for people to read: it depends on what else the machine does, and what it costs does not.
    console.log(`swept ${total} sessions in ${seconds.toFixed(1)} s: ${Math.round(total / seconds)} a second`);
    expect(await count("sessions")).toBe(0);
    expect(rounds).toBe(total / 500 + 1);
    expect(awaited.rowsRead / total).toBeLessThan(6);
    expect(awaited.rowsWritten / total).toBeLessThan(2);
  },
);
