-- +goose Up
-- One row per order: the fold of its history, and the store's own columns.
CREATE TABLE orders.orders (
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
    updated_at     timestamptz NOT NULL DEFAULT now(),
    -- Copied out of state for lists. NULL: nobody has placed this order.
    customer_id    text,
    status         text
) WITH (
    fillfactor = 70, -- an order is rewritten some ten times: leave room beside it
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- Lists go by time. There is deliberately no index on status: it changes at nearly every
-- update, and with an index on it every one of them would have to touch all the indexes.
CREATE INDEX orders_newest ON orders.orders (created_at, order_id);
CREATE INDEX orders_of_customer ON orders.orders (customer_id, created_at, order_id);

-- What happened, in order; only ever appended to.
CREATE TABLE orders.history (
    order_id       uuid        NOT NULL,
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    data           json        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   uuid        NOT NULL,
    at             timestamptz NOT NULL,
    PRIMARY KEY (order_id, version)
);

-- +goose Down
DROP TABLE orders.history;
DROP TABLE orders.orders;
