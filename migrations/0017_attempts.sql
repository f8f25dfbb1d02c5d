-- What came of each attempt of a delivery, and not of the last one alone.

-- JSON list of the last ten attempts, the oldest first: {number, at, duration_ms, status, error, body}. Null: none has ended.
ALTER TABLE deliveries ADD COLUMN attempt_log TEXT;

-- The bytes of the list count for deliveries that have ended. Those that are pending are bounded in number instead, so that an
-- attempt that is followed by another one writes nothing more.
DROP TRIGGER deliveries_recounted;
CREATE TRIGGER deliveries_recounted AFTER UPDATE OF status ON deliveries
WHEN (old.status = 'pending') <> (new.status = 'pending') BEGIN
  UPDATE delivery_totals SET pending = pending + (new.status = 'pending') - (old.status = 'pending'),
    bytes = bytes + iif(new.status = 'pending', 0, coalesce(length(CAST(new.attempt_log AS BLOB)), 0))
      - iif(old.status = 'pending', 0, coalesce(length(CAST(old.attempt_log AS BLOB)), 0))
  WHERE webhook_id = new.webhook_id;
END;

DROP TRIGGER deliveries_uncounted;
CREATE TRIGGER deliveries_uncounted AFTER DELETE ON deliveries BEGIN
  UPDATE delivery_totals
  SET pending = pending - (old.status = 'pending'), bytes = bytes - length(CAST(old.body AS BLOB)) - 1024
    - iif(old.status = 'pending', 0, coalesce(length(CAST(old.attempt_log AS BLOB)), 0))
  WHERE webhook_id = old.webhook_id;
END;
