-- +goose Up
-- One table is both: the letters, and the messages that wait behind them. What belongs together (an
-- order at a service) is a lane, and goes on in the order of position.
ALTER TABLE deadletter.letters
    ADD COLUMN position     bigint GENERATED ALWAYS AS IDENTITY, -- drawn under the lock of the order's row
    ADD COLUMN lane         uuid,                                -- the order; of a message without one, its own id
    ADD COLUMN fingerprint  text        NOT NULL DEFAULT '',     -- what failures of one kind have in common
    ADD COLUMN published_at timestamptz,                         -- the record's own time
    ADD COLUMN closed_at    timestamptz,                         -- when it was resolved or dropped
    ADD COLUMN original     bytea,                               -- the body as it came, where somebody has edited it
    ADD CONSTRAINT known_status CHECK (status IN ('parked', 'retrying', 'new', 'redriving', 'resolved', 'dropped'));
-- Until now nothing waited behind a letter: each is a lane of its own.
UPDATE deadletter.letters SET lane = id;
ALTER TABLE deadletter.letters ALTER COLUMN lane SET NOT NULL;
DROP INDEX deadletter.letters_by_age;
CREATE INDEX letters_open ON deadletter.letters (service, lane, position) WHERE status IN ('parked', 'retrying', 'new', 'redriving');
CREATE INDEX letters_by_fingerprint ON deadletter.letters (fingerprint, position) WHERE status <> 'parked';
CREATE INDEX letters_by_position ON deadletter.letters (position) WHERE status <> 'parked';
CREATE INDEX letters_closed ON deadletter.letters (closed_at) WHERE closed_at IS NOT NULL;

-- What is held up: one row for each lane with an open message.
CREATE TABLE deadletter.lanes (
    service     text        NOT NULL,
    lane        uuid        NOT NULL,
    order_id    uuid,                 -- null: a message without an order; nobody waits behind it
    parked_at   timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz,          -- when its head is tried again; null: when somebody asks for it
    holder      uuid,                 -- the process that is at it, for as long as the lease
    lease_until timestamptz,
    PRIMARY KEY (service, lane)
);
CREATE INDEX lanes_due ON deadletter.lanes (service, due_at) WHERE due_at IS NOT NULL;
INSERT INTO deadletter.lanes (service, lane, order_id) SELECT service, lane, NULL FROM deadletter.letters WHERE status = 'new';

-- Who did what to a letter, and why.
CREATE TABLE deadletter.steps (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id uuid        NOT NULL REFERENCES deadletter.letters ON DELETE CASCADE,
    at        timestamptz NOT NULL DEFAULT now(),
    who       text        NOT NULL,
    action    text        NOT NULL,
    reason    text        NOT NULL DEFAULT '',
    detail    json        NOT NULL DEFAULT '{}'
);
CREATE INDEX steps_of_letter ON deadletter.steps (letter_id, id);

-- What somebody chose to redrive, as it was chosen: letters that fail later do not join it.
CREATE TABLE deadletter.redrives (
    id           uuid PRIMARY KEY,
    who          text        NOT NULL,
    reason       text        NOT NULL,
    selection    text        NOT NULL, -- as it was typed
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE deadletter.redrive_letters (
    redrive_id uuid   NOT NULL REFERENCES deadletter.redrives ON DELETE CASCADE,
    n          bigint NOT NULL, -- the order in which they are asked for
    letter_id  uuid   NOT NULL,
    outcome    text,            -- null: not asked for yet; asked, resolved, unchanged, failed, held, gone
    PRIMARY KEY (redrive_id, n)
);
CREATE INDEX redrive_letters_asked ON deadletter.redrive_letters (redrive_id) WHERE outcome IN ('asked', 'held');

-- Services that stopped taking messages because too many failed alike, or too many were put aside, until somebody
-- resumes them.
CREATE TABLE deadletter.pauses (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service     text        NOT NULL,
    fingerprint text        NOT NULL,
    error       text        NOT NULL,
    letters     bigint      NOT NULL, -- how many were too many
    since       timestamptz NOT NULL DEFAULT now(),
    resumed_at  timestamptz,
    resumed_by  text,
    reason      text
);
CREATE UNIQUE INDEX pauses_now ON deadletter.pauses (service) WHERE resumed_at IS NULL;

-- The body as JSON; null if it is none. It costs a subtransaction each time: so a letter knows whether its body is
-- JSON, and filters need not find out.
-- +goose StatementBegin
CREATE FUNCTION deadletter.body(payload bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
-- +goose StatementEnd
ALTER TABLE deadletter.letters ADD COLUMN is_json boolean GENERATED ALWAYS AS (deadletter.body(payload) IS NOT NULL) STORED;

-- +goose Down
ALTER TABLE deadletter.letters DROP COLUMN is_json;
DROP FUNCTION deadletter.body(bytea);
DROP TABLE deadletter.pauses;
DROP TABLE deadletter.redrive_letters;
DROP TABLE deadletter.redrives;
DROP TABLE deadletter.steps;
DROP TABLE deadletter.lanes;
DROP INDEX deadletter.letters_open, deadletter.letters_by_fingerprint, deadletter.letters_by_position, deadletter.letters_closed;
DELETE FROM deadletter.letters WHERE status = 'parked';
ALTER TABLE deadletter.letters DROP CONSTRAINT known_status,
    DROP COLUMN position, DROP COLUMN lane, DROP COLUMN fingerprint, DROP COLUMN published_at, DROP COLUMN closed_at, DROP COLUMN original;
CREATE INDEX letters_by_age ON deadletter.letters (recorded_at) WHERE status = 'new';
