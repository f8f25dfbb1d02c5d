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
