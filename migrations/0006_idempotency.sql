
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
