-- A record is counted for its agent once its minute is over, with all others of its agent and minute: where many agents take turns, a batch
-- of the queue has one record of each of them, and adding each to the count of its agent cost a row for nearly every record.

-- 0: counted in record_counts once `counted_before` in log_state is after its minute. 1: counted when it was inserted, as a Worker of the
-- former version does with each, and the present one with those that come when their minute is counted already.
ALTER TABLE records ADD COLUMN is_counted INTEGER NOT NULL DEFAULT 1;

-- In minutes since the epoch: what was made before, is counted.
INSERT OR IGNORE INTO log_state (name, value) SELECT 'counted_before', coalesce(max(minute) + 1, 0) FROM record_minutes;
