-- The audit log's hot window. Times are milliseconds since the epoch unless a column says otherwise. audit.sql is the whole of it.

-- A record is a row. Its id sorts by time. A proxied write has two entries, its intent and its end, which are stored as one row if both
-- have come: `part` is 1. A row with `part` 0 is an intent whose end had not come; if it comes later, it is a row of its own, and
-- readers take the row with the highest part.
-- The rows of an agent lie together in the order of time, so that a page of one agent is read without an index, and a record costs one
-- row to write.
CREATE TABLE records (
  agent_id TEXT NOT NULL,                 -- '': no agent
  id TEXT NOT NULL,
  part INTEGER NOT NULL,
  at INTEGER NOT NULL,
  action TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('success', 'denied', 'failed', 'unknown')),
  actor_type TEXT CHECK (actor_type IN ('agent', 'person', 'bootstrap', 'system')), -- null: a stranger
  actor_id TEXT,
  actor_name TEXT,                        -- as it was
  act TEXT,                               -- JSON array of the chain of delegation, the outermost actor first; null: none
  ip_address TEXT,
  request_id TEXT,
  key_id TEXT,
  session_id TEXT,
  service TEXT,
  method TEXT,
  path TEXT,
  rule TEXT,
  permission TEXT,
  status INTEGER,
  upstream_status INTEGER,
  duration_ms INTEGER,
  bytes_in INTEGER,
  bytes_out INTEGER,
  count INTEGER,                          -- how many requests the record represents; null: one
  before TEXT,                            -- JSON object
  after TEXT,                             -- JSON object
  message TEXT,
  random TEXT NOT NULL,                   -- hexadecimal: 16 bytes that the entry's leaf commits to, 16 that its salts are derived from
  intent_random TEXT,                     -- the same of the intent, if the row holds both entries of a write
  batch TEXT NOT NULL,                    -- the batch that inserted the row
  PRIMARY KEY (agent_id, id, part)
) STRICT, WITHOUT ROWID;

-- What did not succeed is rare, so that its indexes cost a success nothing.
CREATE INDEX records_failed ON records (id) WHERE outcome <> 'success';
CREATE INDEX records_failed_by_agent ON records (agent_id, id) WHERE outcome <> 'success';

-- The index of time: in which second which agents have records. Many records of an agent in one second cost one row, and the newest
-- records of everybody are found a second at a time.
CREATE TABLE record_seconds (
  second INTEGER NOT NULL,                -- seconds since the epoch
  agent_id TEXT NOT NULL,
  PRIMARY KEY (second, agent_id)
) STRICT, WITHOUT ROWID;

-- Kept so that a page's total reads at most two rows. agent_id '*' counts everybody's.
CREATE TABLE record_counts (
  agent_id TEXT NOT NULL,
  is_success INTEGER NOT NULL,
  total INTEGER NOT NULL,
  PRIMARY KEY (agent_id, is_success)
) STRICT, WITHOUT ROWID;

-- What the log knows of itself. `swept_before`: before this second, only records that are not archived are left. One row a name.
CREATE TABLE log_state (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was inserted at once: the list of what is to be archived, and to be sent to OTLP_ENDPOINT.
CREATE TABLE batches (
  id TEXT PRIMARY KEY,
  first_id TEXT NOT NULL,
  last_id TEXT NOT NULL,
  keys TEXT NOT NULL,                     -- JSON array of [agent_id, id, part]
  created_at INTEGER NOT NULL,
  archived_at INTEGER,
  sent_at INTEGER,                        -- to OTLP_ENDPOINT
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX batches_to_archive ON batches (first_id) WHERE archived_at IS NULL;
CREATE INDEX batches_to_send ON batches (next_attempt_at) WHERE sent_at IS NULL;

-- The objects in AUDIT_ARCHIVE, by the hour of the records in them.
CREATE TABLE archive_objects (
  name TEXT PRIMARY KEY,                  -- YYYY/MM/DD/HH/<first>-<last>-<digest>.jsonl.gz
  hour INTEGER NOT NULL,                  -- hours since the epoch
  first_id TEXT NOT NULL,
  last_id TEXT NOT NULL,
  records INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('loose', 'joined', 'replaced')), -- joined: several objects as one, with a part for each agent
  changed_at INTEGER NOT NULL             -- when the row got its state
) STRICT, WITHOUT ROWID;

CREATE INDEX archive_objects_by_hour ON archive_objects (hour, last_id);
CREATE INDEX archive_objects_to_join ON archive_objects (hour, first_id) WHERE state = 'loose';
CREATE INDEX archive_objects_to_delete ON archive_objects (changed_at) WHERE state = 'replaced';

-- One key a day, encrypted under a key of DATA_KEYS. Retention deletes it: what it encrypted is then unreadable wherever a copy is.
CREATE TABLE day_keys (
  day INTEGER PRIMARY KEY,                -- days since the epoch
  key TEXT                                -- JSON {kid, iv, data}; null: deleted by retention, which deletes the day's objects next
) STRICT, WITHOUT ROWID;

-- Refusals of strangers, and of what is signed by us but revoked or over its limit: counted by minute, and one record once it is over.
CREATE TABLE refusal_counts (
  minute INTEGER NOT NULL,                -- minutes since the epoch
  subject TEXT NOT NULL,                  -- a session, a key, or an address; '': all others of a minute that has too many
  code TEXT NOT NULL,                     -- of the error
  agent_id TEXT NOT NULL,
  entry TEXT NOT NULL,                    -- JSON of the first of them
  count INTEGER NOT NULL,
  PRIMARY KEY (minute, subject, code)
) STRICT, WITHOUT ROWID;
-- The index of time, by minutes instead of seconds: where many agents take turns, nearly every record of theirs was the only one of its
-- second, and cost two rows to write.
CREATE TABLE record_minutes (
  minute INTEGER NOT NULL,                -- minutes since the epoch
  agent_id TEXT NOT NULL,
  PRIMARY KEY (minute, agent_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO record_minutes (minute, agent_id) SELECT DISTINCT second / 60, agent_id FROM record_seconds;

-- A Worker of the former version writes record_seconds only.
CREATE TRIGGER record_seconds_minute AFTER INSERT ON record_seconds BEGIN
  INSERT OR IGNORE INTO record_minutes (minute, agent_id) VALUES (new.second / 60, new.agent_id);
END;
-- How many calls through the gateway there were in an hour, by their outcome: what a picture of the last days reads, and no record.
CREATE TABLE call_hours (
  hour INTEGER NOT NULL,                  -- hours since the epoch
  outcome TEXT NOT NULL,                  -- as in records
  total INTEGER NOT NULL,
  PRIMARY KEY (hour, outcome)
) STRICT, WITHOUT ROWID;
-- A record is counted for its agent once its minute is over, with all others of its agent and minute: where many agents take turns, a batch
-- of the queue has one record of each of them, and adding each to the count of its agent cost a row for nearly every record.

-- 0: counted in record_counts once `counted_before` in log_state is after its minute. 1: counted when it was inserted, as a Worker of the
-- former version does with each, and the present one with those that come when their minute is counted already.
ALTER TABLE records ADD COLUMN is_counted INTEGER NOT NULL DEFAULT 1;

-- In minutes since the epoch: what was made before, is counted.
INSERT OR IGNORE INTO log_state (name, value) SELECT 'counted_before', coalesce(max(minute) + 1, 0) FROM record_minutes;
