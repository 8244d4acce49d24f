-- Further runs of a campaign on a device, and what operators do to many deployments at once.

-- A later run of the same campaign on the same device exists: lists and counters are about the latest one.
ALTER TABLE deployment ADD COLUMN outrun INTEGER NOT NULL DEFAULT 0;
DROP INDEX deployment_listed;
CREATE INDEX deployment_listed ON deployment (campaign, label) WHERE outrun = 0;

-- What was asked and is not done yet; a row goes when it is.
CREATE TABLE campaign_action (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign   INTEGER NOT NULL REFERENCES campaign (key),
    act        TEXT NOT NULL,
    selection  TEXT NOT NULL,                 -- JSON
    -- The last deployment that there was when it was asked: what was made later is not meant.
    until      INTEGER NOT NULL,
    -- The last deployment that was looked at.
    position   INTEGER NOT NULL DEFAULT 0,
    actor      TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX campaign_action_by_campaign ON campaign_action (campaign);
