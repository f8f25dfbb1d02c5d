import { randomBytes } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { apiKeyHashes, newApiKey } from "../src/agents/api-key.ts";
import { ONLY_PEPPER_ID } from "../src/crypto/pepper.ts";

/** How large a database is made. */
export interface Size {
  readonly name: string;
  readonly agents: number;
  readonly activity: number;
}

/** An agent of a filled database with a key that is known. */
export interface Sampled {
  readonly id: string;
  readonly apiKey: string;
}

export interface Filled {
  readonly sampled: readonly Sampled[];
  /** Milliseconds between two rows of activity. */
  readonly step: number;
  /** When the oldest row of activity is from, in milliseconds. */
  readonly oldest: number;
  readonly bytes: number;
}

/** Agents whose activity is read and whose keys are known: one row of activity in fifty is theirs. */
const SAMPLED = 200;
const DAY = 86_400_000;

/** The file that Miniflare's D1 keeps below its directory. */
export function databaseFile(directory: string): string {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => /d1.*\.sqlite$/.test(name) && !name.includes("metadata"))
    .map((name) => join(directory, name));
  if (files.length !== 1) throw new Error(`one database was looked for below ${directory}: ${files.join(", ")}`);
  return files[0]!;
}

/**
 * Fills a database of this schema that nobody has open: agents with a key and a session each and every tenth with a
 * webhook, activity of the last 89 days evenly over them. Indexes and triggers are put back afterwards, so that it takes a minute and not an hour.
 */
export async function fill(
  directory: string,
  { agents, activity }: Size,
  secrets: Readonly<Record<string, string>>,
): Promise<Filled> {
  const file = databaseFile(directory);
  const db = new Database(file);
  db.pragma("synchronous = OFF");
  db.pragma("cache_size = -1000000");
  db.pragma("temp_store = MEMORY");
  const later = db
    .prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('index', 'trigger')")
    .all() as { type: string; name: string; sql: string }[];
  for (const { type, name } of later) db.exec(`DROP ${type} ${name}`);

  const now = Date.now();
  // Under another key than the newest, the schedule would encrypt them anew.
  const { kid } = JSON.parse(secrets.WEBHOOK_KEYS!).keys[0] as { kid: string };
  const count = (n: number) => `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${n})`;
  db.exec(`
    CREATE TEMP TABLE numbered (i INTEGER PRIMARY KEY, id TEXT);
    ${count(agents)} INSERT INTO numbered SELECT i, 'agt_' || lower(hex(randomblob(12))) FROM n;
    INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
      SELECT id, 'agent ' || i, 'owner' || (i / 10) || '@example.com', '["github:issues:read"]',
        CASE WHEN i % 20 = 19 THEN 'suspended' WHEN i % 50 = 17 THEN 'revoked' ELSE 'active' END,
        'free', ${now - 300 * DAY} + i, ${now - 300 * DAY} + i
      FROM numbered ORDER BY id;
    INSERT INTO agent_counts SELECT status, count(*) FROM agents GROUP BY status;
    INSERT INTO api_keys (id, hash, pepper_id, hint, agent_id, created_at)
      SELECT 'key_' || lower(hex(randomblob(12))) AS key, lower(hex(randomblob(32))), '1', 'hint', id, ${now} FROM numbered ORDER BY key;
    INSERT INTO sessions (id, agent_id, token_version, generation, hash, pepper_id, created_at, last_refreshed_at, expires_at,
        absolute_expires_at, auth_time, ip_address)
      SELECT 'ses_' || lower(hex(randomblob(12))) AS ses, id, 1, 1, lower(hex(randomblob(21))), '1', ${now}, ${now},
        ${now + 30 * DAY}, ${now + 90 * DAY}, ${now}, '203.0.113.7'
      FROM numbered ORDER BY ses;
    INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at)
      SELECT 'wh_' || lower(hex(randomblob(12))) AS wh, id, 'https://hooks.example.com/' || i, '["agent.verified","gateway.denied"]',
        '{"kid":"${kid}","iv":"","data":""}', ${now}, ${now}
      FROM numbered WHERE i % 10 = 0 ORDER BY wh;
  `);

  const sampled: Sampled[] = [];
  const setKey = db.prepare("UPDATE api_keys SET hash = ?, pepper_id = ? WHERE agent_id = ?");
  const pepper = { id: ONLY_PEPPER_ID, secret: secrets.SECRET_PEPPER! };
  const pick = db.prepare("SELECT id FROM numbered WHERE i >= ? AND i % 20 <> 19 AND i % 50 <> 17 ORDER BY i LIMIT 1");
  db.exec("CREATE INDEX for_keys ON api_keys (agent_id)");
  for (let i = 0; i < SAMPLED; i++) {
    const { id } = pick.get(Math.floor((i * agents) / SAMPLED)) as { id: string };
    const apiKey = newApiKey();
    const [hash] = await apiKeyHashes(apiKey, [pepper]);
    setKey.run(hash, pepper.id, id);
    sampled.push({ id, apiKey });
  }
  db.exec("DROP INDEX for_keys");
  db.exec("CREATE TEMP TABLE sampled (i INTEGER PRIMARY KEY, id TEXT)");
  const insert = db.prepare("INSERT INTO temp.sampled VALUES (?, ?)");
  sampled.forEach(({ id }, index) => insert.run(index, id));

  const span = 89 * DAY;
  const oldest = now - span;
  const step = Math.max(1, Math.floor(span / activity));
  const salt = randomBytes(4).toString("hex");
  db.exec(`
    ${count(activity)} INSERT INTO activity (id, agent_id, at, ip_address, status, message, batch)
      SELECT printf('act_%012x7%s%011x', ${oldest} + i * ${step}, '${salt}', i),
        CASE WHEN i % 50 = 0 THEN (SELECT id FROM temp.sampled s WHERE s.i = (n.i / 50) % ${SAMPLED})
          ELSE (SELECT id FROM numbered WHERE numbered.i = n.i * 7919 % ${agents}) END,
        ${oldest} + i * ${step}, '203.0.113.7', iif(i % 10 = 3, 'failure', 'success'),
        'github GET /repos/octo/hello/issues/' || i || ' → 200', 'filled'
      FROM n;
    INSERT INTO activity_counts SELECT agent_id, status, count(*) FROM activity GROUP BY 1, 2;
    INSERT INTO activity_counts SELECT '', status, sum(total) FROM activity_counts GROUP BY 2;
  `);
  for (const { type, sql } of later) if (type === "index") db.exec(sql);
  for (const { type, sql } of later) if (type === "trigger") db.exec(sql);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
  return { sampled, step, oldest, bytes: statSync(file).size };
}
