-- The same indexes with conditions that cost nothing to evaluate.
--
-- For `label IN (...)` with more than two words SQLite fills a table of its own each time a row is written: six of them for a
-- deployment that moves. A chain of OR is as many comparisons. The statements that use these
-- indexes name the same chain (sqlite/mod.rs).

DROP INDEX deployment_unfinished;
CREATE INDEX deployment_unfinished ON deployment (device)
    WHERE (label = 'queued' OR label = 'released' OR label = 'asked' OR label = 'offered' OR
        label = 'running' OR label = 'confirming' OR label = 'waiting');

DROP INDEX deployment_at_work;
CREATE UNIQUE INDEX deployment_at_work ON deployment (device)
    WHERE (label = 'asked' OR label = 'offered' OR label = 'running' OR label = 'confirming');

DROP INDEX deployment_failed;
CREATE INDEX deployment_failed ON deployment (campaign, label, result_code) WHERE replaced = 0
    AND (label = 'failed' OR label = 'timed_out' OR label = 'version_mismatch' OR label = 'not_eligible' OR
        label = 'conflict' OR label = 'superseded' OR label = 'removed');
