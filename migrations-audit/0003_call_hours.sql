-- How many calls through the gateway there were in an hour, by their outcome: what a picture of the last days reads, and no record.
CREATE TABLE call_hours (
  hour INTEGER NOT NULL,                  -- hours since the epoch
  outcome TEXT NOT NULL,                  -- as in records
  total INTEGER NOT NULL,
  PRIMARY KEY (hour, outcome)
) STRICT, WITHOUT ROWID;
