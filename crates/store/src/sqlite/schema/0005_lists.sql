-- Lists at any depth, in whatever way they are narrowed.

-- 1 once a further run of the campaign on the device has been made: then it is history, and is in no list but the device's.
-- Set with the insertion of that run, whoever makes it. Until now there were first runs only.
ALTER TABLE deployment ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER deployment_replaced AFTER INSERT ON deployment WHEN NEW.run > 1
BEGIN
    UPDATE deployment SET replaced = 1
        WHERE device = NEW.device AND campaign = NEW.campaign AND run = NEW.run - 1;
END;

-- One range per label, in the order of the keys.
DROP INDEX deployment_listed;
CREATE INDEX deployment_listed ON deployment (campaign, label) WHERE replaced = 0;

-- Failures by the code of the last report. result_code is written when a deployment moves, and counts once it has ended:
-- the index holds nothing that still changes.
CREATE INDEX deployment_failed ON deployment (campaign, label, result_code) WHERE replaced = 0 AND label IN
    ('failed', 'timed_out', 'version_mismatch', 'not_eligible', 'conflict', 'superseded', 'removed');

-- Campaigns by state, and by product and state.
CREATE INDEX campaign_by_state ON campaign (state);
CREATE INDEX campaign_by_product ON campaign (product, state);

-- How many campaigns are in a state: of each product, and of all (product 0). Moved with the campaigns, whoever moves them.
CREATE TABLE campaign_tally (
    product INTEGER NOT NULL,
    state   TEXT NOT NULL,
    n       INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (product, state)
) STRICT, WITHOUT ROWID;
INSERT INTO campaign_tally (product, state, n) SELECT product, state, count(*) FROM campaign GROUP BY product, state;
INSERT INTO campaign_tally (product, state, n) SELECT 0, state, count(*) FROM campaign GROUP BY state;
CREATE TRIGGER campaign_made AFTER INSERT ON campaign
BEGIN
    INSERT INTO campaign_tally (product, state, n) VALUES (NEW.product, NEW.state, 1), (0, NEW.state, 1)
        ON CONFLICT (product, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER campaign_moved AFTER UPDATE OF state ON campaign WHEN OLD.state <> NEW.state
BEGIN
    UPDATE campaign_tally SET n = n - 1 WHERE product IN (0, OLD.product) AND state = OLD.state;
    INSERT INTO campaign_tally (product, state, n) VALUES (NEW.product, NEW.state, 1), (0, NEW.state, 1)
        ON CONFLICT (product, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER campaign_deleted AFTER DELETE ON campaign
BEGIN
    UPDATE campaign_tally SET n = n - 1 WHERE product IN (0, OLD.product) AND state = OLD.state;
END;
