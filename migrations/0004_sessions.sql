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
