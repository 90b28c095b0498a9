-- +goose Up
-- One row per order: what is known of its money, and the store's own columns.
CREATE TABLE payments.payments (
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
    fillfactor = 70, -- a payment is rewritten two to six times: leave room beside it
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- +goose Down
DROP TABLE payments.payments;
