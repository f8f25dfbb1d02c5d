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
