-- +goose Up
CREATE TABLE deadletter.letters (
    id              uuid PRIMARY KEY,
    service         text        NOT NULL,
    consumer_group  text        NOT NULL,
    handler         text        NOT NULL,
    order_id        uuid,                 -- null: the key is no order id
    message_id      text        NOT NULL,
    correlation_id  text        NOT NULL DEFAULT '',
    topic           text        NOT NULL,
    partition       int         NOT NULL,
    kafka_offset    bigint      NOT NULL,
    key             bytea,
    headers         json        NOT NULL,
    payload         bytea       NOT NULL,
    attempts        int         NOT NULL,
    error_type      text        NOT NULL,
    error           text        NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    version         text        NOT NULL,
    status          text        NOT NULL DEFAULT 'new',
    retry_at        timestamptz           -- set for a letter that is to be tried again by itself
);
CREATE INDEX letters_by_order ON deadletter.letters (service, order_id);
CREATE INDEX letters_by_age ON deadletter.letters (recorded_at) WHERE status = 'new';

-- +goose Down
DROP TABLE deadletter.letters;
