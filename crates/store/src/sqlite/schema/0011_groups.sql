-- Groups of devices, put together by hand; a device may be in several.

CREATE TABLE device_group (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given again: members of a deleted group are taken away later
    project     INTEGER NOT NULL,
    group_id    TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    members     INTEGER NOT NULL DEFAULT 0 CHECK (members >= 0),
    created_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX device_group_by_id ON device_group (group_id);
CREATE UNIQUE INDEX device_group_by_name ON device_group (project, name);

CREATE TABLE device_group_member (
    grp    INTEGER NOT NULL,
    device INTEGER NOT NULL,
    PRIMARY KEY (grp, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_group_of_device ON device_group_member (device);

-- Counted where members come and go, whoever moves them.
CREATE TRIGGER device_group_joined AFTER INSERT ON device_group_member
BEGIN
    UPDATE device_group SET members = members + 1 WHERE key = NEW.grp;
END;
CREATE TRIGGER device_group_left AFTER DELETE ON device_group_member
BEGIN
    UPDATE device_group SET members = members - 1 WHERE key = OLD.grp;
END;

-- Groups that were deleted and still have members.
CREATE TABLE device_group_leaving (
    grp INTEGER PRIMARY KEY
) STRICT;
