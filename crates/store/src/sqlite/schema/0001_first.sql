-- The first schema.
--
-- Times are milliseconds: wall times since 1970 (`*_at`), service times since the store was made (`wake_at`,
-- `service_time`). Keys are internal and never used again; public ids stand beside them.
-- Every row belongs to a project, by a column or through the product, device or campaign it names.
--
-- Rows that are written for every report (device_state, deployment, report, outbox, campaign_count) declare no
-- foreign keys: the batch checks what it names, and a look-up per row would be paid with every report.

-- One row: the runs of the platform on this store.
CREATE TABLE life (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    boots        INTEGER NOT NULL,
    service_time INTEGER NOT NULL,
    last_seen    INTEGER
) STRICT;
INSERT INTO life (only_row, boots, service_time, last_seen) VALUES (1, 0, 0, NULL);

CREATE TABLE project (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE product (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    project    INTEGER NOT NULL REFERENCES project (key),
    product_id TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- As registered. A deleted device stays as a row, so that its deployments keep its id; the id is free again.
CREATE TABLE device (
    key           INTEGER PRIMARY KEY AUTOINCREMENT,
    product       INTEGER NOT NULL REFERENCES product (key),
    device_id     TEXT NOT NULL,
    node_id       TEXT NOT NULL,
    gateway       INTEGER REFERENCES device (key),
    name          TEXT,
    tags          TEXT NOT NULL,              -- JSON object; device_tag is its index
    sealed_secret BLOB,
    frozen        INTEGER NOT NULL DEFAULT 0,
    children      INTEGER NOT NULL DEFAULT 0 CHECK (children >= 0),
    created_at    INTEGER NOT NULL,
    deleted_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX device_by_id ON device (device_id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX device_by_node ON device (product, node_id) WHERE deleted_at IS NULL;
CREATE INDEX device_by_product ON device (product) WHERE deleted_at IS NULL;
CREATE INDEX device_by_gateway ON device (gateway) WHERE gateway IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE device_tag (
    tag    TEXT NOT NULL,
    value  TEXT NOT NULL,
    device INTEGER NOT NULL,
    PRIMARY KEY (tag, value, device)
) STRICT, WITHOUT ROWID;

-- What changes about a device while it lives: narrow, without indexes, one row per device.
CREATE TABLE device_state (
    device           INTEGER PRIMARY KEY,
    firmware_version TEXT,
    software_version TEXT,
    last_report      INTEGER,
    last_report_at   INTEGER,
    epoch            INTEGER,
    connected_at     INTEGER,
    last_finished    INTEGER
) STRICT;

CREATE TABLE artifact (
    artifact_id TEXT PRIMARY KEY,
    project     INTEGER NOT NULL REFERENCES project (key),
    size_bytes  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE package (
    key             INTEGER PRIMARY KEY AUTOINCREMENT,
    product         INTEGER NOT NULL REFERENCES product (key),
    package_id      TEXT NOT NULL UNIQUE,
    kind            TEXT NOT NULL,
    version         TEXT NOT NULL,
    source_versions TEXT NOT NULL,            -- JSON array
    artifact_id     TEXT NOT NULL REFERENCES artifact (artifact_id),
    file_name       TEXT NOT NULL,
    custom_info     TEXT,
    delivery        TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (product, kind, version)
) STRICT;
CREATE INDEX package_by_artifact ON package (artifact_id);

CREATE TABLE campaign (
    key           INTEGER PRIMARY KEY AUTOINCREMENT,
    product       INTEGER NOT NULL REFERENCES product (key),
    campaign_id   TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    state         TEXT NOT NULL,
    started       INTEGER NOT NULL,
    filled        INTEGER NOT NULL,
    policy        TEXT NOT NULL,              -- JSON
    targets       TEXT NOT NULL,              -- JSON
    -- How far its deployments are made: a place in the list of targets, or the last device's key.
    fill_position INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    finished_at   INTEGER,
    created_by    TEXT NOT NULL
) STRICT;
CREATE INDEX campaign_unfilled ON campaign (key) WHERE filled = 0;

CREATE TABLE campaign_package (
    campaign INTEGER NOT NULL REFERENCES campaign (key),
    position INTEGER NOT NULL,
    package  INTEGER NOT NULL REFERENCES package (key),
    PRIMARY KEY (campaign, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX campaign_package_by_package ON campaign_package (package);

-- How many deployments of a campaign are where; moved in the same transaction as the deployments.
CREATE TABLE campaign_count (
    campaign INTEGER NOT NULL,
    label    TEXT NOT NULL,
    n        INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (campaign, label)
) STRICT, WITHOUT ROWID;

-- Nothing that changes while a device reports progress (body, result_code, updated_at) is indexed.
CREATE TABLE deployment (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign    INTEGER NOT NULL,
    device      INTEGER NOT NULL,
    run         INTEGER NOT NULL,
    wave        INTEGER NOT NULL,
    label       TEXT NOT NULL,
    wake_at     INTEGER,
    result_code INTEGER,
    body        TEXT NOT NULL,                -- JSON
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
-- Device first, so that it also serves the history of a device.
CREATE UNIQUE INDEX deployment_once ON deployment (device, campaign, run);
CREATE INDEX deployment_unfinished ON deployment (device)
    WHERE label IN ('queued', 'released', 'asked', 'offered', 'running', 'confirming', 'waiting');
CREATE UNIQUE INDEX deployment_at_work ON deployment (device)
    WHERE label IN ('asked', 'offered', 'running', 'confirming');
CREATE INDEX deployment_due ON deployment (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX deployment_listed ON deployment (campaign, label);

-- Appended by key. The reports of one device hang on each other by `previous`, from device_state.last_report.
CREATE TABLE report (
    seq         INTEGER PRIMARY KEY,
    device      INTEGER NOT NULL,
    deployment  INTEGER,
    received_at INTEGER NOT NULL,
    payload     BLOB NOT NULL,
    reading     TEXT NOT NULL,                -- JSON object
    previous    INTEGER
) STRICT;

-- What is to be said, each line in one session of one run of the platform.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY,
    device     INTEGER NOT NULL,
    via        INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    deployment INTEGER NOT NULL,
    say        TEXT NOT NULL,
    package    INTEGER,
    attempt    INTEGER
) STRICT;
CREATE INDEX outbox_by_session ON outbox (via, epoch);

CREATE TABLE quarantine (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL REFERENCES project (key),
    device  INTEGER,
    at      INTEGER NOT NULL,
    payload BLOB NOT NULL,
    error   TEXT NOT NULL
) STRICT;

CREATE TABLE token (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    project    INTEGER NOT NULL REFERENCES project (key),
    token_id   TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER NOT NULL REFERENCES project (key),
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;
