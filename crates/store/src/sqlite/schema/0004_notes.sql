-- What devices say beside upgrades. None of it is read or written by a report of progress.

CREATE TABLE device_sdk (
    device      INTEGER PRIMARY KEY,
    sdk_version TEXT NOT NULL
) STRICT;

-- The last properties of each service.
CREATE TABLE device_property (
    device      INTEGER NOT NULL,
    service_id  TEXT NOT NULL,
    properties  TEXT NOT NULL,                -- JSON object
    event_time  TEXT,                         -- as the device sent it
    received_at INTEGER NOT NULL,
    PRIMARY KEY (device, service_id)
) STRICT, WITHOUT ROWID;

-- A ring of lines per device.
CREATE TABLE device_log (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    device      INTEGER NOT NULL,
    timestamp   TEXT,                         -- as the device sent it
    kind        TEXT,
    content     TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX device_log_by_device ON device_log (device, seq);
