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
