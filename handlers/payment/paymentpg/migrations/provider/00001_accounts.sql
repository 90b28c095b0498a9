-- +goose Up
-- The simulated provider's book: one row per order. It is the outside: nothing but
-- the provider writes here, and nothing but a checker reads what it wrote.
CREATE TABLE provider.accounts (
    order_id uuid PRIMARY KEY,
    account  json   NOT NULL,
    -- Copied out of account for checkers: how often money was taken and given back, and how
    -- much in minor units. No constraint says what is right: a witness writes down what it sees.
    captures        int    NOT NULL,
    refunded        int    NOT NULL,
    captured_amount bigint NOT NULL,
    refunded_amount bigint NOT NULL,
    currency        text   NOT NULL
) WITH (
    fillfactor = 90, -- most accounts are written once; a void or a refund writes again
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- +goose Down
DROP TABLE provider.accounts;
