-- Applications that are told when something changes: rules, where to, and what is due.

CREATE TABLE push_rule (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    project    INTEGER NOT NULL REFERENCES project (key),
    rule_id    TEXT NOT NULL UNIQUE,
    subject    TEXT NOT NULL,              -- campaign, device or deployment
    active     INTEGER NOT NULL,
    members    TEXT NOT NULL,              -- JSON object, as it was sent
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX push_rule_active ON push_rule (subject) WHERE active = 1;

CREATE TABLE push_action (
    key          INTEGER PRIMARY KEY AUTOINCREMENT,
    rule         INTEGER NOT NULL REFERENCES push_rule (key),
    action_id    TEXT NOT NULL UNIQUE,
    url          TEXT NOT NULL,
    sealed_token BLOB,
    members      TEXT NOT NULL,            -- JSON object, as it was sent, without the token
    created_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX push_action_by_rule ON push_action (rule);

-- What an application has not been told yet. A thing is there once for each action, however often it changes until it is
-- told: so the queue is bounded by the things there are, and what is told last is how it is.
CREATE TABLE push_due (
    action   INTEGER NOT NULL,
    thing    INTEGER NOT NULL,             -- key of the campaign, device or deployment
    version  INTEGER NOT NULL,             -- grows with each change
    attempts INTEGER NOT NULL,
    PRIMARY KEY (action, thing)
) STRICT, WITHOUT ROWID;

-- What was refused for good, or for too long.
CREATE TABLE push_dead (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    action INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL,
    error  TEXT NOT NULL
) STRICT;
CREATE INDEX push_dead_of ON push_dead (action, seq);

CREATE TRIGGER push_campaign AFTER UPDATE OF state ON campaign WHEN OLD.state <> NEW.state
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.key, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'campaign'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
CREATE TRIGGER push_deployment AFTER UPDATE OF label ON deployment WHEN OLD.label <> NEW.label
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.key, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'deployment'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
CREATE TRIGGER push_device AFTER UPDATE OF name, tags, frozen, gateway ON device WHEN NEW.deleted_at IS NULL
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.key, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'device'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
CREATE TRIGGER push_versions AFTER UPDATE OF firmware_version, software_version ON device_state
WHEN OLD.firmware_version IS NOT NEW.firmware_version OR OLD.software_version IS NOT NEW.software_version
BEGIN
    INSERT INTO push_due (action, thing, version, attempts)
        SELECT a.key, NEW.device, 1, 0 FROM push_rule r CROSS JOIN push_action a ON a.rule = r.key
        WHERE r.active = 1 AND r.subject = 'device'
        ON CONFLICT (action, thing) DO UPDATE SET version = version + 1, attempts = 0;
END;
