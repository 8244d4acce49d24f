-- What applications bring: keys that sign requests, and what they say about a thing beyond what the platform uses.

CREATE TABLE access_key (
    key           INTEGER PRIMARY KEY AUTOINCREMENT,
    project       INTEGER NOT NULL REFERENCES project (key),
    access_key    TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    sealed_secret BLOB NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;

-- Members of a thing in the application API, as they came: a JSON object. `thing` is what `key` is a key of.
CREATE TABLE app_member (
    thing   TEXT NOT NULL,
    key     INTEGER NOT NULL,
    members TEXT NOT NULL,
    PRIMARY KEY (thing, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER app_member_of_device AFTER UPDATE OF deleted_at ON device WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM app_member WHERE thing = 'device' AND key = OLD.key;
END;
CREATE TRIGGER app_member_of_group AFTER DELETE ON device_group
BEGIN
    DELETE FROM app_member WHERE thing = 'group' AND key = OLD.key;
END;
CREATE TRIGGER app_member_of_package AFTER DELETE ON package
BEGIN
    DELETE FROM app_member WHERE thing = 'package' AND key = OLD.key;
END;
CREATE TRIGGER app_member_of_campaign AFTER DELETE ON campaign
BEGIN
    DELETE FROM app_member WHERE thing = 'campaign' AND key = OLD.key;
END;

-- When the first session of a device began.
ALTER TABLE device_state ADD COLUMN first_connected_at INTEGER;

-- A deleted product stays as a row while rows of deleted devices name it; its id is changed, so that it is free again.
ALTER TABLE product ADD COLUMN deleted_at INTEGER;
CREATE TRIGGER app_member_of_deleted_product AFTER UPDATE OF deleted_at ON product WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM app_member WHERE thing = 'product' AND key = OLD.key;
END;
