-- The whole database. Times are milliseconds since the epoch unless a column says seconds.
-- docs/storage.md tells the life and the consistency of each table.

CREATE TABLE agents (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  owner_email TEXT NOT NULL,
  description TEXT,
  permissions TEXT NOT NULL,              -- JSON array of strings
  status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'suspended', 'revoked')),
  tier TEXT NOT NULL CHECK (tier IN ('free', 'pro', 'enterprise')),
  not_before INTEGER NOT NULL DEFAULT 0,  -- seconds: a token or a session issued before it is over
  last_verified_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX agents_by_age ON agents (created_at, id);
CREATE INDEX agents_by_status ON agents (status, created_at, id);
CREATE INDEX agents_by_name ON agents (status, name COLLATE NOCASE, created_at);
CREATE INDEX agents_by_owner ON agents (status, owner_email COLLATE NOCASE, created_at);

-- Kept so that a listing's total reads at most four rows.
CREATE TABLE agent_counts (
  status TEXT PRIMARY KEY,
  total INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER agents_counted AFTER INSERT ON agents BEGIN
  INSERT INTO agent_counts (status, total) VALUES (new.status, 1)
  ON CONFLICT (status) DO UPDATE SET total = total + 1;
END;

CREATE TRIGGER agents_recounted AFTER UPDATE OF status ON agents WHEN old.status <> new.status BEGIN
  UPDATE agent_counts SET total = total - 1 WHERE status = old.status;
  INSERT INTO agent_counts (status, total) VALUES (new.status, 1)
  ON CONFLICT (status) DO UPDATE SET total = total + 1;
END;

CREATE TRIGGER agents_uncounted AFTER DELETE ON agents BEGIN
  UPDATE agent_counts SET total = total - 1 WHERE status = old.status;
END;

CREATE TABLE api_keys (
  hash TEXT PRIMARY KEY,                  -- HMAC-SHA-256 under SECRET_PEPPER
  agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER                      -- null: until rotated
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_agent ON api_keys (agent_id);
CREATE INDEX api_keys_by_expiry ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- A family is one session: all the refresh tokens that descend from one verify.
CREATE TABLE refresh_families (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  issued_at INTEGER NOT NULL,             -- seconds, never before the agent's not_before at the time
  expires_at INTEGER NOT NULL,            -- absolute
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_families_by_agent ON refresh_families (agent_id);
CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_at);

CREATE TABLE refresh_tokens (
  hash TEXT PRIMARY KEY,                  -- half of HMAC-SHA-512 under SECRET_PEPPER
  family_id TEXT NOT NULL REFERENCES refresh_families (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL,
  used_at INTEGER                         -- null: the family's newest
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- Ids sort by time, so they are the order and the page key. Agents may be deleted before their rows are.
CREATE TABLE activity (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  ip_address TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('success', 'failure')),
  message TEXT,
  batch TEXT NOT NULL                     -- the insert that brought the row in: what is counted once
) STRICT, WITHOUT ROWID;

CREATE INDEX activity_by_agent ON activity (agent_id, status, id);
CREATE INDEX activity_by_status ON activity (status, id);

-- Kept so that a page's total reads at most two rows. agent_id '' counts everybody's.
CREATE TABLE activity_counts (
  agent_id TEXT NOT NULL,
  status TEXT NOT NULL,
  total INTEGER NOT NULL,
  PRIMARY KEY (agent_id, status)
) STRICT, WITHOUT ROWID;

CREATE INDEX activity_counts_empty ON activity_counts (total) WHERE total = 0;

CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL,                 -- its agent may be deleted: see orphaned_at
  url TEXT NOT NULL,
  events TEXT NOT NULL,                   -- JSON array of event names
  description TEXT,
  is_active INTEGER NOT NULL DEFAULT 1,
  all_agents INTEGER NOT NULL DEFAULT 0,
  secret TEXT NOT NULL,                   -- JSON {kid, iv, data}: AES-GCM under a key of WEBHOOK_KEYS
  previous_secret TEXT,
  previous_secret_expires_at INTEGER,
  failures_in_row INTEGER NOT NULL DEFAULT 0,
  disabled_at INTEGER,
  disabled_reason TEXT,
  orphaned_at INTEGER,                    -- when its agent was deleted: it goes once that was told, see the triggers
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhooks_by_agent ON webhooks (agent_id, created_at);
CREATE INDEX webhooks_for_all ON webhooks (id) WHERE all_agents = 1;
CREATE INDEX webhooks_by_key ON webhooks (secret ->> '$.kid');
CREATE INDEX webhooks_by_previous_key ON webhooks (previous_secret ->> '$.kid') WHERE previous_secret IS NOT NULL;

-- The outbox: written in the batch of the change that it tells of, emptied into deliveries.
CREATE TABLE events (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL,
  event TEXT NOT NULL,
  at INTEGER NOT NULL,
  data TEXT NOT NULL                      -- JSON object
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
  id TEXT PRIMARY KEY,                    -- also the webhook-id header
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_id TEXT NOT NULL,
  event TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  body TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'success', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER,                -- null: no more; while an attempt is under way, when its claim ends
  enqueued_at INTEGER,                    -- when a queue message was last sent for it
  response_status INTEGER,
  response_body TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX deliveries_once ON deliveries (event_id, webhook_id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_by_status ON deliveries (webhook_id, status, id);
CREATE INDEX deliveries_by_age ON deliveries (updated_at) WHERE status <> 'pending';
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status = 'pending';

-- A deleted agent's webhooks go with it, but for those that want to hear of it: these go when that delivery has ended, or is
-- not going to be.
CREATE TRIGGER webhooks_orphaned AFTER DELETE ON agents BEGIN
  DELETE FROM webhooks WHERE agent_id = old.id
    AND (is_active = 0 OR NOT EXISTS (SELECT 1 FROM json_each(events) e WHERE e.value = 'agent.deleted'));
  UPDATE webhooks SET orphaned_at = unixepoch() * 1000 WHERE agent_id = old.id;
END;

CREATE TRIGGER orphans_told AFTER UPDATE OF status ON deliveries
WHEN new.event = 'agent.deleted' AND new.status <> 'pending' BEGIN
  DELETE FROM webhooks WHERE id = new.webhook_id AND agent_id = new.agent_id AND orphaned_at IS NOT NULL;
END;

CREATE TRIGGER orphans_disabled AFTER UPDATE OF is_active ON webhooks
WHEN new.orphaned_at IS NOT NULL AND new.is_active = 0 BEGIN
  DELETE FROM webhooks WHERE id = new.id;
END;

-- What one agent, or a stranger who knows its id, can cause is bounded: in events a minute, in what is kept, and in requests to one host.

-- 1: somebody else did this to the agent, and the address is theirs. Only administrators see it.
ALTER TABLE activity ADD COLUMN by_other INTEGER NOT NULL DEFAULT 0;

UPDATE activity SET by_other = 1
WHERE (message LIKE 'status is %' OR message LIKE 'tier is %' OR message LIKE 'permissions are %' OR message LIKE 'API key rotated by %')
  AND substr(message, -length(agent_id)) <> agent_id;

-- Failed verifications of the last minutes. Above a limit a minute they are told as one count, when the minute is over.
CREATE TABLE failed_verifications (
  id TEXT PRIMARY KEY,                    -- of its message, which the queue may bring twice
  agent_id TEXT NOT NULL,
  minute INTEGER NOT NULL,                -- since the epoch
  place INTEGER NOT NULL,                 -- which one of the agent's it is in its minute, by arrival, from 1
  at INTEGER NOT NULL,
  ip_address TEXT NOT NULL,
  recorded INTEGER NOT NULL               -- 1: it has a row of activity, or stands in a count
) STRICT, WITHOUT ROWID;

CREATE INDEX failed_verifications_by_agent ON failed_verifications (agent_id, minute, place);
CREATE INDEX failed_verifications_by_minute ON failed_verifications (minute);
CREATE INDEX failed_verifications_to_count ON failed_verifications (minute, agent_id) WHERE recorded = 0;

-- How many events of one name an agent has caused in a minute, and the newest of them: what is above the limit is told as one event.
CREATE TABLE event_counts (
  agent_id TEXT NOT NULL,
  event TEXT NOT NULL,
  minute INTEGER NOT NULL,                -- since the epoch, when the outbox was emptied
  total INTEGER NOT NULL,
  since INTEGER NOT NULL,                 -- when the first that is above the limit happened
  at INTEGER NOT NULL,                    -- when the newest happened
  data TEXT NOT NULL,                     -- JSON object, of the newest
  PRIMARY KEY (agent_id, event, minute)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_counts_by_minute ON event_counts (minute);

-- The host of the URL, as the URL parser writes it. Null: registered by a former version, the URL counts as a host of its own.
ALTER TABLE webhooks ADD COLUMN host TEXT;

UPDATE webhooks SET host = (
  SELECT lower(substr(rest, 1, instr(replace(replace(rest, '?', '/'), ':', '/') || '/', '/') - 1))
  FROM (SELECT substr(url, instr(url, '://') + 3) AS rest))
WHERE instr(url, '://') > 0;

-- Attempts of the minute to one host, for all the webhooks of an owner; those for all agents apart.
CREATE TABLE host_attempts (
  owner_id TEXT NOT NULL,
  host TEXT NOT NULL,
  all_agents INTEGER NOT NULL,
  minute INTEGER NOT NULL,                -- since the epoch
  total INTEGER NOT NULL,
  PRIMARY KEY (owner_id, host, all_agents)
) STRICT, WITHOUT ROWID;

CREATE INDEX host_attempts_by_minute ON host_attempts (minute);

-- What is kept of a webhook's deliveries, so that the sweep finds what is too much without counting.
CREATE TABLE delivery_totals (
  webhook_id TEXT PRIMARY KEY REFERENCES webhooks (id) ON DELETE CASCADE,
  pending INTEGER NOT NULL,
  bytes INTEGER NOT NULL                  -- of the bodies, and a kilobyte each for what the receiver answered
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_totals_by_pending ON delivery_totals (pending) WHERE pending > 500;
CREATE INDEX delivery_totals_by_bytes ON delivery_totals (bytes) WHERE bytes > 1000000;

INSERT INTO delivery_totals (webhook_id, pending, bytes)
SELECT webhook_id, sum(status = 'pending'), sum(length(CAST(body AS BLOB)) + 1024) FROM deliveries GROUP BY webhook_id;

CREATE TRIGGER deliveries_counted AFTER INSERT ON deliveries BEGIN
  INSERT INTO delivery_totals (webhook_id, pending, bytes)
  VALUES (new.webhook_id, new.status = 'pending', length(CAST(new.body AS BLOB)) + 1024)
  ON CONFLICT (webhook_id) DO UPDATE SET pending = pending + excluded.pending, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries
WHEN (old.status = 'pending') <> (new.status = 'pending') BEGIN
  UPDATE delivery_totals SET pending = pending + (new.status = 'pending') - (old.status = 'pending')
  WHERE webhook_id = new.webhook_id;
END;

CREATE TRIGGER deliveries_uncounted AFTER DELETE ON deliveries BEGIN
  UPDATE delivery_totals
  SET pending = pending - (old.status = 'pending'), bytes = bytes - length(CAST(old.body AS BLOB)) - 1024
  WHERE webhook_id = old.webhook_id;
END;
-- Each change writes its id into the row that it changes. The events of the change are inserted in the same batch, and only if
-- the row bears that id: a change that did not happen has no event.

ALTER TABLE agents ADD COLUMN change_id TEXT;
ALTER TABLE api_keys ADD COLUMN change_id TEXT;
ALTER TABLE refresh_families ADD COLUMN change_id TEXT;
ALTER TABLE webhooks ADD COLUMN change_id TEXT;
-- A session is one row, keys have ids, and what ends tokens is a version and not a second.

-- The version that an agent's tokens must carry as `ver`. Revocation adds one. A token without `ver` counts as version 1.
ALTER TABLE agents ADD COLUMN token_version INTEGER NOT NULL DEFAULT 1;

-- A Worker of the former version moves `not_before` alone. What it ends has ended for the present version as well.
CREATE TRIGGER agents_ended_by_second AFTER UPDATE OF not_before ON agents
WHEN new.not_before > old.not_before AND new.token_version = old.token_version BEGIN
  UPDATE agents SET token_version = token_version + 1 WHERE id = new.id;
END;

-- Sessions that `not_before` had ended.
UPDATE refresh_families SET revoked_at = unixepoch() * 1000
WHERE revoked_at IS NULL AND issued_at < (SELECT a.not_before FROM agents a WHERE a.id = agent_id);

-- The defaults are for Workers of the former version, which know neither ids nor types of keys.
CREATE TABLE identified_api_keys (
  id TEXT PRIMARY KEY DEFAULT ('key_' || lower(hex(randomblob(12)))),
  agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  type TEXT NOT NULL DEFAULT 'secret' CHECK (type IN ('secret', 'jwk')),
  hash TEXT UNIQUE,                       -- of a secret: HMAC-SHA-256 under a key of SECRET_PEPPER
  pepper_id TEXT,                         -- which key that is; null: written by a former version
  jwk TEXT,                               -- of a public key: JSON
  label TEXT,
  hint TEXT NOT NULL DEFAULT '',          -- the last four characters; '': written by a former version
  created_by TEXT,                        -- JSON {type, id, name}
  created_at INTEGER NOT NULL,
  expires_at INTEGER,                     -- null: until rotated
  last_used_at INTEGER,
  allowed_ips TEXT,                       -- JSON array of CIDRs; null: any address
  change_id TEXT,
  CHECK (type <> 'secret' OR hash IS NOT NULL),
  CHECK (type <> 'jwk' OR jwk IS NOT NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO identified_api_keys (agent_id, hash, created_at, expires_at, change_id)
SELECT agent_id, hash, created_at, expires_at, change_id FROM api_keys;

DROP TABLE api_keys;
ALTER TABLE identified_api_keys RENAME TO api_keys;

CREATE INDEX api_keys_by_agent ON api_keys (agent_id);
CREATE INDEX api_keys_by_expiry ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

-- A session with a refresh token, whatever the number of its refreshes: the refresh token carries the session and the generation.
-- `refresh_families` and `refresh_tokens` have the sessions of the former format only, until their next refresh.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
  key_id TEXT,                            -- the key that opened it; null: of the former format
  token_version INTEGER NOT NULL,         -- the agent's when it was opened
  generation INTEGER NOT NULL,            -- of the refresh token that is valid, from 1
  hash TEXT NOT NULL,                     -- of that token: HMAC-SHA-256 under a key of SECRET_PEPPER
  pepper_id TEXT NOT NULL,                -- which key that is
  previous_hash TEXT,                     -- of the generation before
  previous_pepper_id TEXT,
  rotated_at INTEGER,                     -- when the present generation replaced the one before
  previous_rotated_at INTEGER,            -- when that one replaced the one before it
  created_at INTEGER NOT NULL,
  last_refreshed_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,            -- of the refresh token
  absolute_expires_at INTEGER NOT NULL,
  auth_time INTEGER NOT NULL,             -- the last proof by key
  scope TEXT,                             -- JSON array of permissions; null: what the agent has
  token_ttl INTEGER,                      -- seconds, of its access tokens; null: ACCESS_TOKEN_TTL_SECONDS
  ip_address TEXT NOT NULL,               -- that opened it; '': not known
  ended_at INTEGER,
  change_id TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_agent ON sessions (agent_id, expires_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
-- What is said of an agent beside its name, who created and approved it, and limits of its own.

ALTER TABLE agents ADD COLUMN metadata TEXT;     -- JSON object of strings
ALTER TABLE agents ADD COLUMN created_by TEXT;   -- JSON {type, id, name}; null: a stranger, or a former version
ALTER TABLE agents ADD COLUMN approved_by TEXT;  -- the same, of who first made it active
ALTER TABLE agents ADD COLUMN rate_limit INTEGER; -- requests a minute; null: the tier's
ALTER TABLE agents ADD COLUMN allowed_ips TEXT;  -- JSON array of networks in CIDR notation; null: from everywhere
ALTER TABLE agents ADD COLUMN grantable TEXT;    -- JSON array of permissions that its owner may grant it; null: none

-- Those of the key that opened the session: they outlive the key, which may expire before it.
ALTER TABLE sessions ADD COLUMN allowed_ips TEXT;

CREATE INDEX agents_by_tier ON agents (tier, created_at, id);

-- Registered, and since then neither approved, nor changed, nor verified: these are deleted after UNAPPROVED_AGENT_DAYS.
CREATE INDEX agents_unapproved ON agents (created_at)
WHERE status = 'inactive' AND approved_by IS NULL AND last_verified_at IS NULL AND updated_at = created_at;

-- Which agents hold a permission, newest first. Kept by triggers, so that it is never other than agents.permissions.
CREATE TABLE agent_permissions (
  permission TEXT NOT NULL,
  created_at INTEGER NOT NULL,            -- the agent's
  agent_id TEXT NOT NULL,
  PRIMARY KEY (permission, created_at, agent_id)
) STRICT, WITHOUT ROWID;

INSERT INTO agent_permissions (permission, created_at, agent_id)
SELECT DISTINCT p.value, a.created_at, a.id FROM agents a, json_each(a.permissions) p;

CREATE TRIGGER agents_granted AFTER INSERT ON agents BEGIN
  INSERT OR IGNORE INTO agent_permissions (permission, created_at, agent_id)
  SELECT value, new.created_at, new.id FROM json_each(new.permissions);
END;

CREATE TRIGGER agents_regranted AFTER UPDATE OF permissions ON agents WHEN old.permissions <> new.permissions BEGIN
  DELETE FROM agent_permissions WHERE permission IN (SELECT value FROM json_each(old.permissions))
    AND created_at = old.created_at AND agent_id = old.id;
  INSERT OR IGNORE INTO agent_permissions (permission, created_at, agent_id)
  SELECT value, new.created_at, new.id FROM json_each(new.permissions);
END;

CREATE TRIGGER agents_ungranted AFTER DELETE ON agents BEGIN
  DELETE FROM agent_permissions WHERE permission IN (SELECT value FROM json_each(old.permissions))
    AND created_at = old.created_at AND agent_id = old.id;
END;

-- Idempotency-Key: a request that creates something is carried out once, and answered again with what it was answered with.
CREATE TABLE idempotency_keys (
  id TEXT PRIMARY KEY,                    -- HMAC of the caller and the key: neither is stored
  request TEXT NOT NULL,                  -- HMAC of the method, the path and the body
  claim TEXT NOT NULL,                    -- the request that is carried out
  answer TEXT,                            -- AES-GCM under a key that only the caller's key gives; null until it is answered
  secrets TEXT,                           -- the same, of the secrets in the answer, until secrets_expire_at
  claimed_at INTEGER NOT NULL,
  secrets_expire_at INTEGER,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
CREATE INDEX idempotency_keys_by_secrets ON idempotency_keys (secrets_expire_at) WHERE secrets IS NOT NULL;
-- Former secrets of webhooks, more than one at a time; rows that cannot be handled are set aside; attempts have ids; the lists of
-- all webhooks and all deliveries have indexes.

-- webhooks.previous_secret is the newest former secret. These are the ones before it whose overlap has not ended.
CREATE TABLE former_webhook_secrets (
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  secret TEXT NOT NULL,                   -- JSON {kid, iv, data}: AES-GCM under a key of WEBHOOK_KEYS
  expires_at INTEGER NOT NULL,
  replaced_at INTEGER NOT NULL,           -- when it became older than previous_secret
  PRIMARY KEY (webhook_id, secret)
) STRICT, WITHOUT ROWID;

CREATE INDEX former_webhook_secrets_by_key ON former_webhook_secrets (secret ->> '$.kid');
CREATE INDEX former_webhook_secrets_by_expiry ON former_webhook_secrets (expires_at);

-- When the secret could not be decrypted to be encrypted under a newer key. Null: it could, or nobody has tried.
ALTER TABLE webhooks ADD COLUMN unreadable_at INTEGER;

-- Partial, so that it is not taken for the webhooks that an event goes to.
CREATE INDEX webhooks_by_age ON webhooks (created_at, id) WHERE orphaned_at IS NULL;

-- How often the event alone could not be turned into deliveries.
ALTER TABLE events ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- Events that could not be turned into deliveries, so that the others do not wait for them.
CREATE TABLE events_set_aside (
  id TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL,
  event TEXT NOT NULL,
  at INTEGER NOT NULL,
  data TEXT NOT NULL,
  reason TEXT NOT NULL,
  set_aside_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX events_set_aside_by_age ON events_set_aside (set_aside_at);

-- Which attempt is under way, or was the last one. Null: the delivery was started again and not attempted since.
ALTER TABLE deliveries ADD COLUMN attempt_id TEXT;
-- When it was last started again by hand.
ALTER TABLE deliveries ADD COLUMN reset_at INTEGER;

CREATE INDEX deliveries_by_agent ON deliveries (agent_id, id);
-- Two of them, because one of (status, id) would be taken for what deliveries_due is for.
CREATE INDEX deliveries_pending ON deliveries (id) WHERE status = 'pending';
CREATE INDEX deliveries_ended ON deliveries (status, id) WHERE status <> 'pending';

-- As before, but a list of events that is not JSON does not keep an agent from being deleted.
DROP TRIGGER webhooks_orphaned;
CREATE TRIGGER webhooks_orphaned AFTER DELETE ON agents BEGIN
  DELETE FROM webhooks WHERE agent_id = old.id
    AND (is_active = 0 OR NOT EXISTS (
      SELECT 1 FROM json_each(iif(json_valid(events), events, '[]')) e WHERE e.value = 'agent.deleted'));
  UPDATE webhooks SET orphaned_at = unixepoch() * 1000 WHERE agent_id = old.id;
END;
-- How far each permission of an agent reaches, and until when.

-- JSON array of {id, permission, actions?, where?, expires_at?, announced?, swept?, created_by, created_at}.
ALTER TABLE agents ADD COLUMN grants TEXT;
-- Changes with them.
ALTER TABLE agents ADD COLUMN grants_version INTEGER NOT NULL DEFAULT 1;
-- When a job has to look at them again, to announce an end or to take away what has ended; null: none has an end.
ALTER TABLE agents ADD COLUMN grants_due_at INTEGER;

CREATE INDEX agents_by_grants_due ON agents (grants_due_at) WHERE grants_due_at IS NOT NULL;

-- agents.permissions has the permissions that are granted without a limit and without an end. So a Worker of the former version, which
-- knows no limits, gives no agent more than it has. What it writes there is granted without limits, and what it leaves out is taken
-- away, but for limited grants, which it does not see: they stay, and the same permission keeps its limits.
CREATE TRIGGER agents_granted_by_former AFTER UPDATE OF permissions ON agents
WHEN new.grants_version = old.grants_version BEGIN
  UPDATE agents SET
    grants_version = new.grants_version + 1,
    permissions = (
      SELECT json_group_array(value) FROM (SELECT DISTINCT value FROM json_each(new.permissions) ORDER BY value)
      WHERE value NOT IN (SELECT g.value ->> 'permission' FROM json_each(coalesce(old.grants, '[]')) g)
        OR value IN (SELECT g.value ->> 'permission' FROM json_each(coalesce(old.grants, '[]')) g
                     WHERE g.value ->> 'where' IS NULL AND g.value ->> 'expires_at' IS NULL)),
    grants = (
      SELECT json_group_array(json(granted)) FROM (
        SELECT g.value AS granted FROM json_each(coalesce(old.grants, '[]')) g
        WHERE g.value ->> 'where' IS NOT NULL OR g.value ->> 'expires_at' IS NOT NULL
          OR g.value ->> 'permission' IN (SELECT value FROM json_each(new.permissions))
        UNION ALL
        SELECT json_object('id', 'gra_' || lower(hex(randomblob(12))), 'permission', value, 'actions', json(CASE
            WHEN value IN ('zendesk:tickets:*', 'zendesk:users:*', 'slack:messages:*', 'slack:channels:*', 'hubspot:contacts:*',
              'hubspot:deals:*', 'github:repos:*', 'github:issues:*', 'salesforce:accounts:*', 'salesforce:leads:*') THEN '["read","write"]'
            WHEN value IN ('hubspot:companies:*', 'github:pull_requests:*', 'stripe:payments:*', 'stripe:customers:*',
              'stripe:invoices:*') THEN '["read"]'
          END), 'created_by', NULL, 'created_at', unixepoch() * 1000)
        FROM (SELECT DISTINCT value FROM json_each(new.permissions) ORDER BY value)
        WHERE value NOT IN (SELECT g.value ->> 'permission' FROM json_each(coalesce(old.grants, '[]')) g)))
  WHERE id = new.id;
END;

CREATE TRIGGER agents_registered_by_former AFTER INSERT ON agents WHEN new.grants IS NULL BEGIN
  UPDATE agents SET permissions = permissions WHERE id = new.id;
END;

-- As before, but of the permissions that are granted with limits as well, until a job marks that they have ended.
DROP TRIGGER agents_granted;
DROP TRIGGER agents_regranted;
DROP TRIGGER agents_ungranted;

CREATE TRIGGER agents_granted AFTER INSERT ON agents WHEN new.grants IS NOT NULL BEGIN
  INSERT OR IGNORE INTO agent_permissions (permission, created_at, agent_id)
  SELECT value ->> 'permission', new.created_at, new.id FROM json_each(new.grants) WHERE value ->> 'swept' IS NULL;
END;

CREATE TRIGGER agents_regranted AFTER UPDATE OF grants ON agents WHEN old.grants IS NOT new.grants BEGIN
  DELETE FROM agent_permissions WHERE permission IN (SELECT value ->> 'permission' FROM json_each(coalesce(old.grants, '[]')))
    AND created_at = old.created_at AND agent_id = old.id;
  INSERT OR IGNORE INTO agent_permissions (permission, created_at, agent_id)
  SELECT value ->> 'permission', new.created_at, new.id FROM json_each(new.grants) WHERE value ->> 'swept' IS NULL;
END;

CREATE TRIGGER agents_ungranted AFTER DELETE ON agents BEGIN
  DELETE FROM agent_permissions WHERE permission IN (SELECT value ->> 'permission' FROM json_each(old.grants))
    AND created_at = old.created_at AND agent_id = old.id;
END;

-- The triggers write the grants of every row.
UPDATE agents SET permissions = permissions;
-- Records of the audit log that are written in the batch of what they tell, until they stand in AUDIT_DB.

CREATE TABLE audit_outbox (
  agent_id TEXT NOT NULL,                 -- '': no agent
  id TEXT NOT NULL,                       -- the record's
  part TEXT NOT NULL CHECK (part IN ('whole', 'intent', 'end')),
  at INTEGER NOT NULL,                    -- milliseconds
  ready_at INTEGER NOT NULL,              -- milliseconds: an intent whose end has not come by then is moved with an unknown outcome
  entry TEXT NOT NULL,                    -- JSON object
  PRIMARY KEY (agent_id, id, part)
) STRICT, WITHOUT ROWID;

-- What the audit log's own state makes the identity database do. One row a name.
CREATE TABLE audit_state (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Public keys of agents by their `kid`, proofs that may be used once, tokens that ended by themselves, and tokens that are bound to a key.

ALTER TABLE api_keys ADD COLUMN kid TEXT;        -- of a public key (RFC 7517 §4.5)

CREATE UNIQUE INDEX api_keys_by_kid ON api_keys (agent_id, kid) WHERE kid IS NOT NULL;

-- Client assertions and DPoP proofs that were accepted: none is accepted twice.
CREATE TABLE used_proofs (
  signer TEXT NOT NULL,                   -- the agent whose key signed it, or the thumbprint of a DPoP key
  jti_hash TEXT NOT NULL,                 -- SHA-256 in base64url
  expires_at INTEGER NOT NULL,            -- when it would no longer be accepted anyway
  PRIMARY KEY (signer, jti_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_proofs_by_expiry ON used_proofs (expires_at);

-- Access tokens without a session that were revoked one by one (RFC 7009).
CREATE TABLE ended_tokens (
  jti TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL             -- when the token would have expired
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_tokens_by_expiry ON ended_tokens (expires_at);

-- The thumbprint of the key that the tokens of a session are bound to (RFC 9449 §6.1). Null: to none.
ALTER TABLE sessions ADD COLUMN dpop_jkt TEXT;
-- People: who they are, how they sign in, what they may do, and which agents are theirs.

CREATE TABLE people (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  email TEXT NOT NULL UNIQUE,             -- trimmed, in lower case, ASCII only
  name TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'owner', 'auditor')),
  status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
  created_by TEXT NOT NULL,               -- JSON {type, id, name}
  created_at INTEGER NOT NULL,
  joined_at INTEGER,                      -- when a passkey or a login was first bound to the person; null: only a link signs in
  enrolled_at INTEGER,                    -- when the first passkey was enrolled, also if it has been deleted
  last_signed_in_at INTEGER,
  change_id TEXT
) STRICT, WITHOUT ROWID;

-- A person who is signed in. The cookie has the token, of which this is the hash.
CREATE TABLE person_sessions (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  hash TEXT NOT NULL UNIQUE,              -- SHA-256
  method TEXT NOT NULL CHECK (method IN ('passkey', 'oidc', 'link')),
  auth_time INTEGER NOT NULL,             -- when the person last proved who they are
  enrol_until INTEGER,                    -- until when a passkey may be enrolled without an existing one; null: never
  created_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,          -- to within some minutes
  expires_at INTEGER NOT NULL,
  ip_address TEXT NOT NULL,               -- that signed in; '': not known
  user_agent TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX person_sessions_by_person ON person_sessions (person_id);
CREATE INDEX person_sessions_by_expiry ON person_sessions (expires_at);

CREATE TABLE passkeys (
  id TEXT PRIMARY KEY,                    -- sorts by created_at
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  credential_id TEXT NOT NULL UNIQUE,     -- base64url
  public_key TEXT NOT NULL,               -- JSON {alg, jwk}
  counter INTEGER NOT NULL,               -- of the last assertion; 0: the authenticator does not count
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  decides_from INTEGER NOT NULL,          -- when it may first confirm an act
  last_used_at INTEGER,
  last_challenge TEXT                     -- that it answered
) STRICT, WITHOUT ROWID;

CREATE INDEX passkeys_by_person ON passkeys (person_id);

-- A login at the OpenID provider, bound to a person at an invitation or by the person.
CREATE TABLE person_logins (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX person_logins_by_person ON person_logins (person_id);

-- Links that sign a person in once, to enrol a passkey: an invitation, or a recovery.
CREATE TABLE sign_in_links (
  id TEXT PRIMARY KEY,
  person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  hash TEXT NOT NULL UNIQUE,              -- SHA-256 of the token
  created_by TEXT NOT NULL,               -- JSON {type, id, name}
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  session_id TEXT                         -- that it opened
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_links_by_person ON sign_in_links (person_id);
CREATE INDEX sign_in_links_by_expiry ON sign_in_links (expires_at);

-- Challenges of WebAuthn that were answered: each is good once.
CREATE TABLE used_challenges (
  id TEXT PRIMARY KEY,                    -- base64url
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_challenges_by_expiry ON used_challenges (expires_at);

-- What a person is told: what happened to them, and to administrators what happened to others.
CREATE TABLE person_notices (
  id TEXT NOT NULL,                       -- sorts by at
  to_person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  about TEXT NOT NULL,                    -- JSON {type, id, name}
  actor TEXT NOT NULL,                    -- JSON {type, id, name}
  PRIMARY KEY (to_person_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX person_notices_by_age ON person_notices (at);

-- Who owns the agent. An administrator says so; an address that is equal only suggests it.
ALTER TABLE agents ADD COLUMN owner_person_id TEXT;

CREATE INDEX agents_by_owner_person ON agents (owner_person_id, created_at, id) WHERE owner_person_id IS NOT NULL;

CREATE TRIGGER people_gone AFTER DELETE ON people BEGIN
  UPDATE agents SET owner_person_id = NULL WHERE owner_person_id = old.id;
END;
-- Logins at the OpenID provider: what people are shown of them, and by what they are deleted.

ALTER TABLE person_logins ADD COLUMN id TEXT;    -- sorts by created_at
ALTER TABLE person_logins ADD COLUMN label TEXT; -- what the provider called the person: shown, and never compared

CREATE UNIQUE INDEX person_logins_by_id ON person_logins (id);
-- Agents whose tokens must be bound to a key (RFC 9449 §5.2, `dpop_bound_access_tokens`). 1: none that is not bound is good.

ALTER TABLE agents ADD COLUMN dpop_required INTEGER NOT NULL DEFAULT 0;
-- The device grant (RFC 8628): a person lets a command act for them, in a session of its own.

ALTER TABLE person_sessions ADD COLUMN client_id TEXT;   -- the command that has the session; null: a browser

-- A command that waits for a person to let it in.
CREATE TABLE device_codes (
  hash TEXT PRIMARY KEY,                  -- SHA-256 of the device code, which the command has
  user_code_hash TEXT NOT NULL UNIQUE,    -- HMAC of the code that the person types: it is too short for a hash without a key
  client_id TEXT NOT NULL,
  ip_address TEXT NOT NULL,               -- of the command; '': not known
  user_agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  poll_seconds INTEGER NOT NULL,          -- how long the command waits before it asks again
  polls_from INTEGER NOT NULL,            -- when it may ask again
  shown INTEGER NOT NULL,                 -- how often it was shown to a person who typed the code
  decision TEXT CHECK (decision IN ('approved', 'denied')),
  person_id TEXT,                         -- who decided
  decided_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
-- What came of each attempt of a delivery, and not of the last one alone.

-- JSON list of the last ten attempts, the oldest first: {number, at, duration_ms, status, error, body}. Null: none has ended.
ALTER TABLE deliveries ADD COLUMN attempt_log TEXT;

-- The bytes of the list count for deliveries that have ended. Those that are pending are bounded in number instead, so that an
-- attempt that is followed by another one writes nothing more.
DROP TRIGGER deliveries_recounted;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries
WHEN (old.status = 'pending') <> (new.status = 'pending') BEGIN
  UPDATE delivery_totals SET pending = pending + (new.status = 'pending') - (old.status = 'pending'),
    bytes = bytes + iif(new.status = 'pending', 0, coalesce(length(CAST(new.attempt_log AS BLOB)), 0))
      - iif(old.status = 'pending', 0, coalesce(length(CAST(old.attempt_log AS BLOB)), 0))
  WHERE webhook_id = new.webhook_id;
END;

DROP TRIGGER deliveries_uncounted;
CREATE TRIGGER deliveries_uncounted AFTER DELETE ON deliveries BEGIN
  UPDATE delivery_totals
  SET pending = pending - (old.status = 'pending'), bytes = bytes - length(CAST(old.body AS BLOB)) - 1024
    - iif(old.status = 'pending', 0, coalesce(length(CAST(old.attempt_log AS BLOB)), 0))
  WHERE webhook_id = old.webhook_id;
END;
