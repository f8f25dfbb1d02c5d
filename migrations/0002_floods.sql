
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
