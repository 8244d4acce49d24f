-- A package may be made before its bytes are here: they are read from an object in the background. Then it has no artifact.
DROP INDEX package_by_artifact;
ALTER TABLE package ADD COLUMN kept TEXT REFERENCES artifact (artifact_id);
UPDATE package SET kept = artifact_id;
ALTER TABLE package DROP COLUMN artifact_id;
ALTER TABLE package RENAME COLUMN kept TO artifact_id;
CREATE INDEX package_by_artifact ON package (artifact_id);

-- Where the bytes are to be read from, as JSON; null: they were uploaded.
ALTER TABLE package ADD COLUMN place TEXT;
-- Why they could not be read yet; where they never will be, `refused` is 1.
ALTER TABLE package ADD COLUMN problem TEXT;
ALTER TABLE package ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
CREATE INDEX package_pending ON package (key) WHERE artifact_id IS NULL AND refused = 0;
