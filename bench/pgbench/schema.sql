-- What one event touches: the set of events that were handled, the state of an order, the outbox.
CREATE TABLE processed (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE states (
    id      bigint PRIMARY KEY,
    version bigint      NOT NULL DEFAULT 0,
    at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50); -- an update finds room beside the old row, and leaves the index alone

CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text        NOT NULL,
    key        text        NOT NULL,
    payload    text        NOT NULL,
    headers    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
