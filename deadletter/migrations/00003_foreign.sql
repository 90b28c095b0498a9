-- +goose Up
-- What was sent back of the letters that other systems wrote, by the place of the record in their topic. The record's time
-- belongs to the key: a topic that was made anew counts from 0 again.
CREATE TABLE deadletter.sent_back (
    topic        text        NOT NULL,
    partition    int         NOT NULL,
    kafka_offset bigint      NOT NULL,
    written_at   timestamptz NOT NULL, -- the record's own time
    sent_to      text        NOT NULL, -- a topic
    sent_at      timestamptz NOT NULL DEFAULT now(),
    who          text        NOT NULL,
    reason       text        NOT NULL DEFAULT '',
    PRIMARY KEY (topic, partition, kafka_offset, written_at)
);

-- +goose Down
DROP TABLE deadletter.sent_back;
