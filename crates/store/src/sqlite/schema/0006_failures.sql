-- What went wrong in a campaign, and how often.

-- Failures by outcome and by the code of the last report; without a report, has_code is 0 and code is 0. Of the latest run of
-- each device; moved in the same transaction as the deployments.
CREATE TABLE campaign_failure (
    campaign INTEGER NOT NULL,
    label    TEXT NOT NULL,
    has_code INTEGER NOT NULL,
    code     INTEGER NOT NULL,
    n        INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (campaign, label, has_code, code)
) STRICT, WITHOUT ROWID;
INSERT INTO campaign_failure (campaign, label, has_code, code, n)
    SELECT campaign, label, result_code IS NOT NULL, coalesce(result_code, 0), count(*) FROM deployment
    WHERE replaced = 0 AND label IN
        ('failed', 'timed_out', 'version_mismatch', 'not_eligible', 'conflict', 'superseded', 'removed')
    GROUP BY campaign, label, result_code;

-- The most frequent first.
CREATE INDEX campaign_failure_by_n ON campaign_failure (campaign, n DESC, label, has_code, code);
