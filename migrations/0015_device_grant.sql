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
