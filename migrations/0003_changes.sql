-- Each change writes its id into the row that it changes. The events of the change are inserted in the same batch, and only if
-- the row bears that id: a change that did not happen has no event.

ALTER TABLE agents ADD COLUMN change_id TEXT;
ALTER TABLE api_keys ADD COLUMN change_id TEXT;
ALTER TABLE refresh_families ADD COLUMN change_id TEXT;
ALTER TABLE webhooks ADD COLUMN change_id TEXT;
