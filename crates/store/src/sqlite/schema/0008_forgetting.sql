-- Forgetting: artifacts that nothing uses, campaigns that were deleted.

-- Since when an artifact counts as out of use, unless a package has it: its last upload, or the end of its last package.
ALTER TABLE artifact ADD COLUMN idle_since INTEGER NOT NULL DEFAULT 0;
UPDATE artifact SET idle_since = created_at;

-- Deleted campaigns whose deployments are still being taken away.
CREATE TABLE campaign_leaving (
    campaign INTEGER PRIMARY KEY
) STRICT;

CREATE INDEX campaign_ended ON campaign (finished_at) WHERE finished_at IS NOT NULL;
