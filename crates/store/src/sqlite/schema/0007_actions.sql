-- What operators asked to be done to deployments of a campaign, and is not done yet; a row goes when it is.
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
