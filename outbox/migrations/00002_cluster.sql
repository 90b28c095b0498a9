-- +goose Up
-- The Kafka cluster this database's events go to. Another one has none of the
-- messages that running orders wait for.
CREATE TABLE millrace.cluster (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    id  text NOT NULL
);

-- +goose Down
DROP TABLE millrace.cluster;
