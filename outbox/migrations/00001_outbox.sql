-- +goose Up
-- What every database of the system has, whichever services use it.

-- Events that are true but not yet in Kafka. The relay deletes a row once the
-- broker has acknowledged it, so the table is nearly empty when all is well.
CREATE TABLE millrace.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service    text        NOT NULL,
    topic      text        NOT NULL,
    key        bytea,
    payload    bytea       NOT NULL,
    headers    bytea       NOT NULL, -- a JSON object of strings
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The broker refused the row for what it is (too large, no such topic). It waits, alarmed,
    -- with the later rows of its order; it is not the lag that holds back other orders' deadlines.
    unsendable boolean     NOT NULL DEFAULT false
) WITH (
    -- Vacuum by number of rows, not by share, and without pauses: the table turns
    -- over completely, and its dead rows are what the relay has to step over.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_vacuum_cost_delay = 0
);

-- Who does what only one process at a time needs to do. For economy, not for safety.
CREATE TABLE millrace.leases (
    name   text PRIMARY KEY,
    holder uuid,
    until  timestamptz NOT NULL DEFAULT '-infinity'
);

-- What rows wait for: calls to the outside, and deadlines. Claiming one moves
-- its due_at forward by the lease; since stays what it was.
CREATE TABLE millrace.waits (
    service  text        NOT NULL,
    order_id uuid        NOT NULL,
    step     text        NOT NULL,
    due_at   timestamptz NOT NULL,
    since    timestamptz NOT NULL, -- when it first was, or will be, due
    attempt  int         NOT NULL DEFAULT 0,
    holder   uuid,                 -- the executor that claimed it last; its claim ends with it
    PRIMARY KEY (service, order_id, step)
) WITH (
    fillfactor = 70, -- due_at is indexed, but attempts are updated in place
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX waits_due ON millrace.waits (service, due_at);

-- The Kafka cluster this database's events go to. Another one has none of the
-- messages that running orders wait for.
CREATE TABLE millrace.cluster (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    id  text NOT NULL
);

-- +goose Down
DROP TABLE millrace.cluster;
DROP TABLE millrace.waits;
DROP TABLE millrace.leases;
DROP TABLE millrace.outbox;
