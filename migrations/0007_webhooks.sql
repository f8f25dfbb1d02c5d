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
