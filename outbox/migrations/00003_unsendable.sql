-- +goose Up
-- Rows that the broker refused for what they are (too large, no such topic). They
-- wait, alarmed, with the later rows of their order; and they are not the lag that keeps
-- the deadlines of other orders from firing.
ALTER TABLE millrace.outbox ADD COLUMN unsendable boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE millrace.outbox DROP COLUMN unsendable;
