-- What is due is told in the order of how often it failed, so that one thing that is never taken holds up no other.
CREATE INDEX push_due_next ON push_due (action, attempts, thing);

-- What is set to what it was has not changed.
DROP TRIGGER push_device;
CREATE TRIGGER push_device AFTER UPDATE OF name, tags, frozen, gateway ON device
WHEN NEW.deleted_at IS NULL AND (OLD.name IS NOT NEW.name OR OLD.tags <> NEW.tags OR OLD.frozen <> NEW.frozen
    OR OLD.gateway IS NOT NEW.gateway)
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.key, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'device'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;

-- A further run takes the place of one that has ended.
CREATE TRIGGER push_run AFTER INSERT ON deployment WHEN NEW.run > 1
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.key, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'deployment'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;

-- The status of a task also depends on where any of its deployments are: a cancelled campaign has stopped when the last one
-- has ended, and one that waits to be confirmed goes on with the first one.
CREATE TRIGGER push_count AFTER UPDATE OF n ON campaign_count WHEN (OLD.n = 0) <> (NEW.n = 0)
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.campaign, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'campaign'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
CREATE TRIGGER push_counted AFTER INSERT ON campaign_count WHEN NEW.n > 0
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.campaign, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'campaign'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
