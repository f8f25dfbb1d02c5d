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
