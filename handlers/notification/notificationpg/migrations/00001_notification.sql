-- +goose Up
-- What customers were, and will be, told about each order: the store's row table.
CREATE TABLE notification.orders (
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
    customer_id    text
) WITH (
    -- A row is rewritten some twenty times within seconds; room in the page keeps that
    -- from touching the indexes.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);
-- The shop's customer ids have at most 128 characters. A foreign record may have a
-- longer one, and must not fail because an index cannot hold it.
CREATE INDEX orders_by_customer ON notification.orders (left(customer_id, 128), created_at);

-- What the built-in senders would have sent.
CREATE TABLE notification.sent (
    key             text PRIMARY KEY, -- the idempotency key, "order/step"
    notification_id uuid        NOT NULL,
    order_id        uuid        NOT NULL,
    customer_id     text        NOT NULL,
    kind            text        NOT NULL,
    channel         text        NOT NULL,
    recipient       text        NOT NULL,
    subject         text        NOT NULL,
    body            text        NOT NULL,
    sent_at         timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE notification.sent;
DROP TABLE notification.orders;
