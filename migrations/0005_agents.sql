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
