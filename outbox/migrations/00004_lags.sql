-- +goose Up
-- When a service's messages were late, for a process that starts later: its deadlines give that time back. A lag that
-- several processes saw counts once, since the lags are a union.
CREATE TABLE millrace.lags (
    service  text           PRIMARY KEY,
    clear_at timestamptz    NOT NULL, -- somebody looked then and saw no lag; later ones are not in lags yet
    lags     tstzmultirange NOT NULL
);

-- +goose Down
DROP TABLE millrace.lags;
