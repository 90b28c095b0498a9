package verify

import (
	"fmt"
	"slices"
	"time"
)

// look is what is known of the looking itself: when, how far, and at what.
type look struct {
	// at is when each service's rows were read, in microseconds on their database's clock; 0: they were not.
	at [services]int64
	// log tells whether the log was read.
	log bool
	// partitions is how many each event's topic has; 0: there is no such topic.
	partitions [kinds]int32
	// starts are where the partitions began, before the offsets below were noted.
	starts [kinds]map[int32]int64
	// committed is how far each service said it was, before its rows were read.
	committed [services][kinds]map[int32]int64
	// gone is the time before which events may have been removed from a partition; 0: none. removed is how many they
	// are at the most, of all partitions.
	gone    [kinds]map[int32]int64
	removed [kinds]int64
	// hidden is how many records lie behind the end of a partition for now, since a transaction of somebody else's is open there.
	hidden [kinds]map[int32]int64
	// letterPartitions and lettersGone are the same of the letters' topics.
	letterPartitions [services]int32
	lettersGone      [services]map[int32]int64
	// provider tells whether the simulated provider's book was read.
	provider bool
	// atRest: whoever asked says that nothing is going on any more.
	atRest bool
	// patience is how long an order may go on without a reason, in microseconds.
	patience int64
	// lags is how much time each service's deadlines give back, because its messages were late, in microseconds.
	lags [services]int64
}

// slack is how much earlier than a snapshot something must have happened for the snapshot to have
// it for sure. A transaction of the system ends within seconds, and clocks agree within half a one.
const slack = int64(time.Minute / time.Microsecond)

// has tells whether a service's rows were read.
func (l *look) has(s service) bool { return s < services && l.at[s] != 0 }

// afterwards tells whether an event that the publisher's row does not count may have been said after
// the row was read.
func (l *look) afterwards(s service, at int64) bool { return !l.atRest && at > l.at[s]-slack }

// says and hears tell which kinds of events a service does.
func says(s service, k kind) bool  { return flow[k].publisher == s }
func hears(s service, k kind) bool { return slices.Contains(flow[k].consumers, s) }

// mayBeGone tells whether an event of an order, of some kind that a service says, or hears, and not older than since, may have
// been removed, or cannot be read for now. An order's events lie in one partition of each topic; what is gone from the others is no excuse.
func (l *look) mayBeGone(s service, does func(service, kind) bool, of id, since int64) bool {
	for k := range kinds {
		if !does(s, k) || l.partitions[k] == 0 {
			continue
		}
		partition := partitionOf([]byte(of.String()), l.partitions[k])
		if l.hidden[k][partition] > 0 {
			return true
		}
		if gone := l.gone[k][partition]; gone != 0 && since <= gone+slack {
			return true
		}
	}
	return false
}

// hides names a partition of a topic that one of the core services hears, in which events of an order may lie behind a transaction of
// somebody else's; empty if there is none.
func (l *look) hides(of id) string {
	for k := range kinds {
		if l.partitions[k] == 0 || !slices.ContainsFunc(core, func(s service) bool { return hears(s, k) }) {
			continue
		}
		if partition := partitionOf([]byte(of.String()), l.partitions[k]); l.hidden[k][partition] > 0 {
			return fmt.Sprintf("%s/%d", flow[k].topic, partition)
		}
	}
	return ""
}

// mayHaveLost is how many records may have been removed, or cannot be read for now, at the most, of the kinds that a service says, or hears.
func (l *look) mayHaveLost(s service, does func(service, kind) bool) (n int64) {
	for k := range kinds {
		if does(s, k) {
			n += l.removed[k]
		}
	}
	return n
}

// copyMayBeGone tells whether a letter's copy may have been removed from the letters' topic. It has the key of the message, which,
// where that is about the order, is the order's id.
func (l *look) copyMayBeGone(of id, one *letter) bool {
	partitions := l.lettersGone[one.Service]
	if n := l.letterPartitions[one.Service]; one.Ordered && n > 0 {
		gone := partitions[partitionOf([]byte(of.String()), n)]
		return gone != 0 && one.Recorded <= gone+slack
	}
	for _, gone := range partitions {
		if one.Recorded <= gone+slack {
			return true
		}
	}
	return false
}

// firstIsFirst tells whether a record's first occurrence in its partition must still be there.
func (l *look) firstIsFirst(r *record) bool {
	gone := l.gone[r.Kind][r.Partition]
	return gone == 0 || r.At > gone+slack
}

// outlived tells whether something is older than a settled letter about it would be kept.
func (l *look) outlived(s service, at int64) bool { return at < l.at[s]-lettersKept.Microseconds() }

// tooOld is for a message that nobody can read, or about whose order somebody has decided: when its letter has gone, a service may
// have nothing left of it. What is younger still has its letter.
func (o *order) tooOld(s service, r *record, l *look) bool {
	return (!r.Readable || o.hasDecided(s)) && l.outlived(s, r.Stamp)
}

// done tells whether a service said, before its rows were read, that it was done with a record.
func (l *look) done(s service, r *record) bool { return r.Offset < l.committed[s][r.Kind][r.Partition] }

// late is for how long something has been a service's turn, if that is longer than there is patience for; else 0. The
// clock is its database's; where that was not read, nothing is late.
func (l *look) late(s service, due int64) time.Duration {
	if !l.has(s) || l.at[s]-due <= l.patience {
		return 0
	}
	return time.Duration(l.at[s]-due) * time.Microsecond
}

// due is when a call or deadline is to be done at the latest. Deadlines give back what lags took, to all that may have lost
// time to them: which of them this one did is not known.
func (l *look) due(w *wait) int64 {
	if l.has(w.Service) && w.Step == stepDeadline {
		return w.Due + l.lags[w.Service]
	}
	return w.Due
}
