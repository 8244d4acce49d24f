-- Resource spaces of applications. The first one has the project's id and no row here: what is in it has no space.
CREATE TABLE space (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given again
    project    INTEGER NOT NULL REFERENCES project (key),
    space_id   TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (project, name)
) STRICT;

-- A product stays in its space, and with it its devices, packages and campaigns.
ALTER TABLE product ADD COLUMN space INTEGER REFERENCES space (key);
ALTER TABLE device_group ADD COLUMN space INTEGER REFERENCES space (key);
CREATE INDEX product_by_space ON product (space) WHERE space IS NOT NULL;
CREATE INDEX device_group_by_space ON device_group (space) WHERE space IS NOT NULL;
