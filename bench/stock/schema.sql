-- What a shop on stock Watermill keeps: a row per order and service, and one table of processed
-- messages. Where Millrace keeps the same thing, the names and columns are the same, so that one
-- query reads both; so are the storage parameters, so that neither table is luckier than the other.

-- Message ids a service has handled: the second delivery is found here.
CREATE TABLE processed (
    service    text NOT NULL,
    message_id uuid NOT NULL,
    PRIMARY KEY (service, message_id)
);

-- What rows wait for later: deadlines, the next look at a parcel, a call that failed.
CREATE TABLE waits (
    service  text        NOT NULL,
    order_id uuid        NOT NULL,
    step     text        NOT NULL,
    due_at   timestamptz NOT NULL,
    attempt  int         NOT NULL DEFAULT 0,
    PRIMARY KEY (service, order_id, step)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waits_due ON waits (due_at);

CREATE SCHEMA orders;
CREATE TABLE orders.orders (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    customer_id    text,
    status         text
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX orders_newest ON orders.orders (created_at, order_id);
CREATE INDEX orders_of_customer ON orders.orders (customer_id, created_at, order_id);
CREATE TABLE orders.history (
    order_id       uuid        NOT NULL,
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    data           json        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   uuid        NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(), -- the start of the transaction
    PRIMARY KEY (order_id, version)
);

CREATE SCHEMA payments;
CREATE TABLE payments.payments (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE SCHEMA inventory;
CREATE TABLE inventory.reservations (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE inventory.stock (
    sku       text COLLATE "C" PRIMARY KEY,
    name      text   NOT NULL DEFAULT '',
    initial   bigint NOT NULL DEFAULT 0,
    restocked bigint NOT NULL DEFAULT 0,
    available bigint NOT NULL DEFAULT 0,
    reserved  bigint NOT NULL DEFAULT 0,
    sold      bigint NOT NULL DEFAULT 0,
    version   bigint NOT NULL DEFAULT 0,
    CONSTRAINT never_oversold CHECK (available >= 0 AND reserved >= 0 AND sold >= 0),
    CONSTRAINT stock_adds_up CHECK (initial + restocked = available + reserved + sold)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE SCHEMA shipping;
CREATE TABLE shipping.shipments (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0);

CREATE SCHEMA notification;
CREATE TABLE notification.orders (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    customer_id    text
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX orders_by_customer ON notification.orders (left(customer_id, 128), created_at);

CREATE SCHEMA analytics;
CREATE TABLE analytics.orders (
    order_id       uuid PRIMARY KEY,
    state          json        NOT NULL,
    version        bigint      NOT NULL,
    correlation_id text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0);
-- Appended to, and added up by whoever asks: an upsert of one row per sum would make all
-- orders wait for each other's commits.
CREATE TABLE analytics.deltas (
    minute timestamptz NOT NULL,
    name   text        NOT NULL,
    key    text        NOT NULL,
    n      bigint      NOT NULL
);

-- The world outside: the simulated payment provider's book, and what the simulated senders of
-- e-mail, SMS and push have sent. The simulators are the same on both sides.
CREATE SCHEMA provider;
CREATE TABLE provider.accounts (
    order_id        uuid PRIMARY KEY,
    account         json   NOT NULL,
    captures        int    NOT NULL,
    refunded        int    NOT NULL,
    captured_amount bigint NOT NULL,
    refunded_amount bigint NOT NULL,
    currency        text   NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE notification.sent (
    key             text PRIMARY KEY,
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
