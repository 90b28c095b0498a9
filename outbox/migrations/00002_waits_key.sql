-- +goose Up
-- The order first: a statement finds an order's waits by it whatever the planner thinks of the
-- table, which is empty and full by turns, and new keys go to the end of the index.
ALTER TABLE millrace.waits DROP CONSTRAINT waits_pkey, ADD PRIMARY KEY (order_id, step, service);

-- +goose Down
ALTER TABLE millrace.waits DROP CONSTRAINT waits_pkey, ADD PRIMARY KEY (service, order_id, step);
