-- Which master key sealed the secrets in here: a value made from it, by which a wrong key is noticed at the start.
CREATE TABLE master_key (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    mark     BLOB NOT NULL
) STRICT;
