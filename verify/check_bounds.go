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

// checkBacklog is the other part: the outbox is bounded. A little more than the limit is nothing wrong:
// running orders go on while no new ones are taken.
func checkBacklog(l *look, s *sums, limit int64, f *findings) (note string) {
	f.checked(i12, 1)
	const room = 2 // what running orders may still say
	if limit > 0 && s.unsent > room*limit {
		f.wrong(i12, nil, nil, "the outbox has %d rows; at %d no more orders may be taken", s.unsent, limit)
	}
	note = fmt.Sprintf("%d events in the outbox", s.unsent)
	if s.unsent > 0 {
		newest := int64(0)
		for _, at := range l.at {
			newest = max(newest, at)
		}
		note += fmt.Sprintf(", the oldest %s old", (time.Duration(newest-s.unsentSince) * time.Microsecond).Round(time.Millisecond))
	}
	return note
}
