-- +goose Up
-- Where each order's parcel stands: the store's row table.
CREATE TABLE shipping.shipments (
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
    -- A row is changed some five times within seconds; room in its page keeps the
    -- index out of it.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- +goose Down
DROP TABLE shipping.shipments;
