package verify

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// offsetsKept is how long a group without members keeps its offsets at least: a week, as Kafka is delivered, a day
// before 2.0. A service that is younger than that has not lost any.
const offsetsKept = 24 * time.Hour

// checkRemoved is the part of I8 that no record shows any more: what was removed from the log before a group had read
// it is behind no offset of the group's, and no service will ever hear it. The starts were noted before the offsets. It
// shows only until the group goes on in that partition, since then its offset is behind the new start.
//
// A group that has no offset has read nothing, or had one that expired while nobody ran: then it is not known what it had read.
func checkRemoved(l *look, s *sums, f *findings) {
	if !l.log {
		return
	}
	for of := range services {
		if !l.has(of) {
			continue
		}
		mayHaveExpired := s.worked[of] != 0 && l.at[of]-s.worked[of] > offsetsKept.Microseconds()
		for k := range kinds {
			if !hears(of, k) {
				continue
			}
			for _, partition := range slices.Sorted(maps.Keys(l.starts[k])) {
				start := l.starts[k][partition]
				at, noted := l.committed[of][k][partition]
				switch {
				case at >= start:
				case !noted && mayHaveExpired:
					f.skipped(i8, start)
				default:
					f.wrong(i8, nil, []string{fmt.Sprintf("%s/%d@%d", flow[k].topic, partition, at)},
						"%d records were removed before %s had read them: its offset is %d, and the log starts at %d", start-at, of.group(), at, start)
				}
			}
		}
	}
}
