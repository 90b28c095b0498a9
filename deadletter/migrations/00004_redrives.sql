-- +goose Up
-- A selection that nobody has agreed to yet is none that was broken off.
ALTER TABLE deadletter.redrives ADD COLUMN begun_at timestamptz;
UPDATE deadletter.redrives SET begun_at = created_at;
-- The next ones are found without a look at all that are left.
CREATE INDEX redrive_letters_waiting ON deadletter.redrive_letters (redrive_id, n) WHERE outcome IS NULL;

-- What whoever is at a lane says of its head does not count: the message was restored meanwhile.
ALTER TABLE deadletter.lanes ADD COLUMN overruled boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE deadletter.lanes DROP COLUMN overruled;
DROP INDEX deadletter.redrive_letters_waiting;
ALTER TABLE deadletter.redrives DROP COLUMN begun_at;
