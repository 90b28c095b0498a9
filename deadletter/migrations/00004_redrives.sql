-- +goose Up
-- A selection that nobody has agreed to yet is none that was broken off.
ALTER TABLE deadletter.redrives ADD COLUMN begun_at timestamptz;
UPDATE deadletter.redrives SET begun_at = created_at;

-- What whoever is at a lane says of its head does not count: the message was restored meanwhile.
ALTER TABLE deadletter.lanes ADD COLUMN overruled boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE deadletter.lanes DROP COLUMN overruled;
ALTER TABLE deadletter.redrives DROP COLUMN begun_at;
