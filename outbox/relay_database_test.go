package outbox

import (
	"log/slog"
	"strings"
	"testing"
)

func TestARelayGoesOnWhenTheDatabaseHasBeenAway(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	var log logged
	r := NewRelay(db, b, RelayOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	background(t, run(r))
	insertRow(t, db, "a", 1)
	eventually(t, func() bool { return unsent(t, db) == 0 })
	_, err := db.Exec(`ALTER TABLE millrace.outbox RENAME TO away`)
	need(t, err)
	_, err = db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	need(t, err)
	eventually(t, func() bool { return strings.Contains(log.String(), "the relay reads the outbox: failing") })
	_, err = db.Exec(`ALTER TABLE millrace.away RENAME TO outbox`)
	need(t, err)
	insertRow(t, db, "a", 2)
	eventually(t, func() bool { return unsent(t, db) == 0 && strings.Contains(log.String(), "works again") })
	b.checkOrder(t, map[string]int{"a": 2})
	if n := strings.Count(log.String(), "the relay reads the outbox: failing"); n != 1 {
		t.Errorf("the failure is logged %d times, want once", n)
	}
}

// A server that was promoted without the last rows gives their ids to others.
func TestARelayFindsRowsWhoseIDsWereUsedBefore(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	var log logged
	r := NewRelay(db, b, RelayOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	background(t, run(r))
	for n := range 5 {
		insertRow(t, db, "a", n+1)
	}
	eventually(t, func() bool { return unsent(t, db) == 0 })
	_, err := db.Exec(`ALTER TABLE millrace.outbox RENAME TO away`)
	need(t, err)
	eventually(t, func() bool { return strings.Contains(log.String(), "the relay reads the outbox: failing") })
	_, err = db.Exec(`ALTER TABLE millrace.away ALTER id RESTART WITH 2`)
	need(t, err)
	_, err = db.Exec(`ALTER TABLE millrace.away RENAME TO outbox`)
	need(t, err)
	eventually(t, func() bool { return strings.Contains(log.String(), "works again") }) // all was looked at
	insertRow(t, db, "a", 6)
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, map[string]int{"a": 6})
}
