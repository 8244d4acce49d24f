-- Children behind gateways: whether they are there, when they came and went, and campaigns that count them.

-- What was last heard of a child: 1 it is there, 0 it is not, NULL nothing yet.
ALTER TABLE device_state ADD COLUMN there INTEGER;

-- On a gateway: grows by one with every child that comes or goes. On a child: what it was when it came, and went.
ALTER TABLE device ADD COLUMN topology INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN joined INTEGER;
ALTER TABLE device ADD COLUMN departed INTEGER;
UPDATE device SET joined = key WHERE gateway IS NOT NULL;
UPDATE device SET topology = coalesce((SELECT max(c.joined) FROM device c WHERE c.gateway = device.key), 0)
    WHERE children > 0;
CREATE INDEX device_joined ON device (gateway, joined) WHERE gateway IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX device_departed ON device (gateway, departed) WHERE departed IS NOT NULL;

-- Passed on to devices with every word about the campaign; a JSON object.
ALTER TABLE campaign ADD COLUMN ext_info TEXT;

-- How many children of a gateway a campaign has, for campaigns that tell gateways so.
CREATE TABLE campaign_gateway (
    campaign INTEGER NOT NULL,
    gateway  INTEGER NOT NULL,
    children INTEGER NOT NULL,
    PRIMARY KEY (campaign, gateway)
) STRICT, WITHOUT ROWID;
