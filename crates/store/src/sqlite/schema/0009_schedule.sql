-- When a campaign starts by itself, by the wall clock.
ALTER TABLE campaign ADD COLUMN start_at INTEGER;
CREATE INDEX campaign_scheduled ON campaign (start_at)
    WHERE start_at IS NOT NULL AND started = 0 AND state IN ('preparing', 'scheduled');
