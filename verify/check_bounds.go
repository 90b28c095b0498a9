package verify

import (
	"fmt"
	"time"
)

// maxCommands is how many ids of requests and callbacks a row may remember: they come from outside.
const maxCommands = 256

// checkRow is the part of I12 that is a row's.
func checkRow(o *order, _ *look, f *findings) {
	for _, r := range o.Rows {
		if r == nil {
			continue
		}
		f.checked(i12, 1)
		if r.Commands > maxCommands {
			f.wrong(i12, o, nil, "its row at %s remembers %d requests and callbacks, more than %d", r.Service, r.Commands, maxCommands)
		}
	}
}

// checkBacklog is the other part: each database's outbox is bounded. A little more than the limit is nothing wrong:
// running orders go on while no new ones are taken.
func checkBacklog(s *sums, limit int64, f *findings) (note string) {
	const room = 2 // what running orders may still say
	oldest := int64(0)
	for i := range s.backlogs {
		b := &s.backlogs[i]
		f.checked(i12, 1)
		if limit > 0 && b.rows > room*limit {
			f.wrong(i12, nil, nil, "the outbox of database %s has %d rows; at %d no more orders may be taken", b.database, b.rows, limit)
		}
		if b.rows > 0 {
			oldest = max(oldest, b.at-b.since)
		}
	}
	note = fmt.Sprintf("%d events in the outbox", s.unsent())
	if s.unsent() > 0 {
		note += fmt.Sprintf(", the oldest %s old", (time.Duration(oldest) * time.Microsecond).Round(time.Millisecond))
	}
	return note
}
