-- +goose Up
-- What is known of each order as far as it is counted: the store's row table.
CREATE TABLE analytics.orders (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL DEFAULT 0,
    said           bigint      NOT NULL DEFAULT 0,
    processed      uuid[]      NOT NULL DEFAULT '{}',
    commands       uuid[]      NOT NULL DEFAULT '{}',
    waiting        text[]      NOT NULL DEFAULT '{}',
    correlation_id text        NOT NULL DEFAULT '',
    parked_at      timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 70, -- a row is rewritten some five times; in place, if there is room
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- What changes of orders made of a difference, appended by the store and folded
-- into the two tables below. Nearly empty when all is well.
CREATE TABLE analytics.deltas (
    minute timestamptz NOT NULL,
    name   text        NOT NULL CHECK (length(name) <= 32),
    key    text        NOT NULL CHECK (length(key) <= 64), -- it must fit into the indexes below
    n      bigint      NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_vacuum_cost_delay = 0
);

-- Sums of all time, and by minute. numeric, because amounts may add up to more than a bigint.
CREATE TABLE analytics.totals (
    name text    NOT NULL,
    key  text    NOT NULL,
    n    numeric NOT NULL,
    PRIMARY KEY (name, key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE analytics.minutes (
    minute timestamptz NOT NULL,
    name   text        NOT NULL,
    key    text        NOT NULL,
    n      numeric     NOT NULL,
    PRIMARY KEY (minute, name, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- Whoever holds the lock on the one row folds; others do something else meanwhile.
CREATE TABLE analytics.folding (only_row bool PRIMARY KEY DEFAULT true CHECK (only_row));
INSERT INTO analytics.folding DEFAULT VALUES;

-- +goose Down
DROP TABLE analytics.folding;
DROP TABLE analytics.minutes;
DROP TABLE analytics.totals;
DROP TABLE analytics.deltas;
DROP TABLE analytics.orders;
