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
  /** Of the audit log. */
  readonly records: number;
}

/** An agent of a filled database with a key that is known. */
export interface Sampled {
  readonly id: string;
  readonly apiKey: string;
}

export interface Filled {
  readonly sampled: readonly Sampled[];
  /** Milliseconds between two records. */
  readonly step: number;
  /** When the oldest record is from, in milliseconds. */
  readonly oldest: number;
  /** Of the identity database, and of the audit log's. */
  readonly bytes: number;
  readonly auditBytes: number;
}

/** Agents whose records are read and whose keys are known: one record in fifty is theirs. */
const SAMPLED = 200;
const DAY = 86_400_000;

/** The file below Miniflare's directory in which its D1 keeps the database that has this table. */
export function databaseFile(directory: string, table: string): string {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => /d1.*\.sqlite$/.test(name) && !name.includes("metadata"))
    .map((name) => join(directory, name))
    .filter((name) => {
      const db = new Database(name);
      const found = db.prepare("SELECT 1 FROM sqlite_master WHERE name = ?").get(table);
      db.close();
      return found !== undefined;
    });
  if (files.length !== 1) throw new Error(`one database was looked for below ${directory}: ${files.join(", ")}`);
  return files[0]!;
}

/** Opens a database that nobody else has open, without its indexes and triggers. `close` puts them back, and returns its size in bytes. */
function openBare(file: string): { db: Database.Database; close: () => number } {
  const db = new Database(file);
  db.pragma("synchronous = OFF");
  db.pragma("cache_size = -1000000");
  db.pragma("temp_store = MEMORY");
  const later = db
    .prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('index', 'trigger')")
    .all() as { type: string; name: string; sql: string }[];
  for (const { type, name } of later) db.exec(`DROP ${type} ${name}`);
  return {
    db,
    close() {
      for (const wanted of ["index", "trigger"]) {
        for (const { type, sql } of later) if (type === wanted) db.exec(sql);
      }
      db.pragma("wal_checkpoint(TRUNCATE)");
      db.close();
      return statSync(file).size;
    },
  };
}

/** SQL for a table `n` whose `i` are the numbers below this one. */
const count = (n: number) => `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${n})`;

/**
 * Fills databases of these schemas that nobody has open: agents with a key and a session each and every tenth with a
 * webhook, records of the last 89 days evenly over them. Indexes and triggers are put back afterwards, so that it takes a minute and not an hour.
 */
export async function fill(
  directory: string,
  { agents, records }: Size,
  secrets: Readonly<Record<string, string>>,
): Promise<Filled> {
  const { db, close } = openBare(databaseFile(directory, "agents"));
  const now = Date.now();
  // Under another key than the newest, the schedule would encrypt them anew.
  const { kid } = JSON.parse(secrets.WEBHOOK_KEYS!).keys[0] as { kid: string };
  db.exec(`
    CREATE TEMP TABLE numbered (i INTEGER PRIMARY KEY, id TEXT);
    ${count(agents)} INSERT INTO numbered SELECT i, 'agt_' || lower(hex(randomblob(12))) FROM n;
    INSERT INTO agents (id, name, owner_email, permissions, grants, status, tier, created_at, updated_at)
      SELECT id, 'agent ' || i, 'owner' || (i / 10) || '@example.com', '["github:issues:read"]',
        json_array(json_object('id', 'gra_' || lower(hex(randomblob(12))), 'permission', 'github:issues:read', 'created_by', NULL, 'created_at', ${now})),
        CASE WHEN i % 20 = 19 THEN 'suspended' WHEN i % 50 = 17 THEN 'revoked' ELSE 'active' END,
        'free', ${now - 300 * DAY} + i, ${now - 300 * DAY} + i
      FROM numbered ORDER BY id;
    INSERT INTO agent_counts SELECT status, count(*) FROM agents GROUP BY status;
    INSERT INTO agent_permissions (permission, agent_id, created_at)
      SELECT 'github:issues:read' AS permission, id, created_at FROM agents ORDER BY created_at, id;
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
  const ids = db.prepare("SELECT i, id FROM numbered").all() as { i: number; id: string }[];
  const bytes = close();
  const log = fillLog(databaseFile(directory, "records"), records, { now, ids, sampled });
  return { sampled, bytes, ...log };
}

/** Fills the audit log: calls through the gateway, of which one in ten was denied. */
function fillLog(
  file: string,
  records: number,
  { now, ids, sampled }: { now: number; ids: readonly { i: number; id: string }[]; sampled: readonly Sampled[] },
): Pick<Filled, "step" | "oldest" | "auditBytes"> {
  const { db, close } = openBare(file);
  db.exec("CREATE TEMP TABLE numbered (i INTEGER PRIMARY KEY, id TEXT)");
  db.exec("CREATE TEMP TABLE sampled (i INTEGER PRIMARY KEY, id TEXT)");
  const number = db.prepare("INSERT INTO temp.numbered VALUES (?, ?)");
  const sample = db.prepare("INSERT INTO temp.sampled VALUES (?, ?)");
  db.transaction(() => {
    for (const { i, id } of ids) number.run(i, id);
    sampled.forEach(({ id }, index) => sample.run(index, id));
  })();
  const span = 89 * DAY;
  const oldest = now - span;
  const step = Math.max(1, Math.floor(span / records));
  const salt = randomBytes(4).toString("hex");
  db.exec(`
    ${count(records)} INSERT INTO records (agent_id, id, part, at, action, outcome, actor_type, actor_id, actor_name, ip_address,
        request_id, key_id, session_id, service, method, path, rule, permission, status, upstream_status, duration_ms, bytes_in, bytes_out,
        message, random, batch)
      SELECT agent, printf('aud_%012x7%s%011x', at, '${salt}', i), 1, at, 'gateway.call', iif(i % 10 = 3, 'denied', 'success'), 'agent',
        agent, 'agent', printf('203.0.113.%d', i % 250), printf('%s-%d', '${salt}', i), 'key_' || substr(agent, 5), 'ses_' || substr(agent, 5),
        'github', iif(i % 7 = 0, 'POST', 'GET'), '/repos/octo/hello/issues/' || i, 'GET /repos/{owner}/{repo}/issues/{number:int} issues',
        'github:issues:read', iif(i % 10 = 3, 403, 200), iif(i % 10 = 3, NULL, 200), 80 + i % 300, 0, 2000 + i % 5000,
        iif(i % 10 = 3, 'lacks github:issues:read', NULL), lower(hex(randomblob(32))), 'filled'
      FROM (SELECT i, ${oldest} + i * ${step} AS at,
        CASE WHEN i % 50 = 0 THEN (SELECT id FROM temp.sampled s WHERE s.i = (n.i / 50) % ${SAMPLED})
          ELSE (SELECT id FROM temp.numbered WHERE numbered.i = n.i * 7919 % ${ids.length}) END AS agent FROM n);
    INSERT INTO record_minutes SELECT DISTINCT at / 60000 AS minute, agent_id FROM records ORDER BY minute, agent_id;
    INSERT INTO record_counts SELECT agent_id, outcome = 'success', count(*) FROM records GROUP BY 1, 2;
    INSERT INTO record_counts SELECT '*', is_success, sum(total) FROM record_counts GROUP BY 2;
    UPDATE log_state SET value = ${Math.floor(now / 60_000) + 1} WHERE name = 'counted_before';
  `);
  return { step, oldest, auditBytes: close() };
}
