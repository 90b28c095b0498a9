package verify

import "fmt"

// backlog is what one database's outbox has.
type backlog struct {
	database string
	// at is when it was looked at, since when the oldest row was written: on the database's clock.
	at, since int64
	rows      int64
	// garbled is how many of the rows nobody can read, examples the first of them.
	garbled  int64
	examples []string
}

// garbledKept is how many rows that nobody can read are named: more than fill a screen. All are counted.
const garbledKept = 100

// row counts one that was written then.
func (b *backlog) row(at int64) {
	if b.rows++; b.rows == 1 || at < b.since {
		b.since = at
	}
}

// unreadable notes a row that cannot be published.
func (b *backlog) unreadable(row int64, why string) {
	if b.garbled++; b.garbled <= garbledKept {
		b.examples = append(b.examples, fmt.Sprintf("outbox row %d: %s", row, why))
	}
}
