-- +goose Up
-- What is held for each order: the store's row table.
CREATE TABLE inventory.reservations (
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
    -- A row is inserted, filled, and changed once or twice more within seconds: room
    -- for that in its page keeps the index out of it.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- The stock, one row per SKU. The constraints are the last line of defence: what
-- they refuse is a fault in the code, and costs one update instead of the stock.
-- Version 0 is a row that was made and never filled; nobody is shown it.
CREATE TABLE inventory.stock (
    sku       text COLLATE "C" PRIMARY KEY, -- bytewise, so that pages mean the same everywhere
    name      text   NOT NULL DEFAULT '',
    initial   bigint NOT NULL DEFAULT 0,
    restocked bigint NOT NULL DEFAULT 0,
    available bigint NOT NULL DEFAULT 0,
    reserved  bigint NOT NULL DEFAULT 0,
    sold      bigint NOT NULL DEFAULT 0,
    version   bigint NOT NULL DEFAULT 0,
    CONSTRAINT never_oversold CHECK (available >= 0 AND reserved >= 0 AND sold >= 0),
    CONSTRAINT stock_adds_up CHECK (initial + restocked = available + reserved + sold)
) WITH (
    -- A few rows, rewritten with every batch: nearly empty pages, so that each new
    -- version finds room beside the old one and no index is touched.
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- Every restock, for ever: the same one again is found here.
CREATE TABLE inventory.ledger (
    id             uuid        NOT NULL,
    key            text        NOT NULL,
    state          json        NOT NULL,
    correlation_id text        NOT NULL,
    at             timestamptz NOT NULL,
    PRIMARY KEY (id, key)
);

-- +goose Down
DROP TABLE inventory.ledger;
DROP TABLE inventory.stock;
DROP TABLE inventory.reservations;
