-- Parts of a product that have versions of their own, as applications register them.
CREATE TABLE ota_module (
    key         INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given again: lists go on behind it
    product     INTEGER NOT NULL REFERENCES product (key),
    module_id   TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    alias       TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (product, name)
) STRICT;

CREATE TRIGGER ota_module_of_deleted_product AFTER UPDATE OF deleted_at ON product WHEN NEW.deleted_at IS NOT NULL
BEGIN
    DELETE FROM ota_module WHERE product = OLD.key;
END;
