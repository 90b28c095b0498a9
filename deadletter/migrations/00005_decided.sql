-- +goose Up
-- The orders about which somebody decided something with a letter that has been removed since, after its time: a message was
-- given up, changed, or taken up again. Whoever audits the orders need not expect of them what the system alone would have done.
-- One row for each order and service, for as long as the order itself is kept.
CREATE TABLE deadletter.decided (
    service  text NOT NULL,
    order_id uuid NOT NULL,
    PRIMARY KEY (service, order_id)
);

-- +goose Down
DROP TABLE deadletter.decided;
