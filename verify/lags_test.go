package verify

import (
	"database/sql"
	"testing"

	"millrace/testserver"
)

// Lags are read as the executor writes them; one that has no end is none that is over.
func TestLagsAreRead(t *testing.T) {
	db, err := sql.Open("postgres", testserver.PostgresDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec(`CREATE SCHEMA millrace;
CREATE TABLE millrace.lags (service text PRIMARY KEY, clear_at timestamptz NOT NULL, lags tstzmultirange NOT NULL);
INSERT INTO millrace.lags VALUES
	('order', now(), '{[2026-01-01 00:00:00Z,2026-01-01 00:00:30Z), [2026-01-01 01:00:00Z,2026-01-01 01:00:01.5Z)}'),
	('payment', now(), '{}'), ('shipping', now(), '{[2026-01-01 00:00:00Z,)}'), ('another', now(), '{[2026-01-01 00:00:00Z,2026-01-01 00:00:30Z)}')`); err != nil {
		t.Fatal(err)
	}
	s, err := takeSnapshot(t.Context(), Database{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.end() }()
	if want := [services]int64{orders: 31*second + second/2}; s.lags != want {
		t.Errorf("lags of %v µs, want %v", s.lags, want)
	}
}
