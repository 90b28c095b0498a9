package verify

import (
	"slices"
	"strings"
	"time"
)

// lettersKept is how long settled letters are kept, less a day: an older copy may have lost its letter.
const lettersKept = 29 * 24 * time.Hour

// checkLetters is I9: no dead letter is lost, none is applied twice, and order is kept behind them. Rows,
// letters and lanes are written together, so they agree in every snapshot.
func checkLetters(o *order, l *look, f *findings) {
	for s := range services {
		if l.has(s) {
			o.checkMark(s, f)
		}
	}
	for i := range o.Letters {
		one := &o.Letters[i]
		if one.Service >= services || !l.has(one.Service) {
			continue
		}
		f.checked(i9, 1)
		switch {
		case one.open() && one.Status == letterParked:
			f.count.Parked++
		case one.open():
			f.count.Letters++
		}
		o.checkSettled(one, f)
		o.checkCopy(one, l, f)
	}
	o.checkLanes(f)
	o.checkTurns(l, f)
	o.checkCopies(l, f)
}

// checkMark: a row is marked exactly while letters of its order are open.
func (o *order) checkMark(s service, f *findings) {
	holds := slices.IndexFunc(o.Letters, func(one letter) bool { return one.Service == s && one.Ordered && one.open() })
	parked := o.Rows[s] != nil && o.Rows[s].Parked
	if parked || holds >= 0 {
		f.checked(i9, 1)
	}
	switch {
	case parked && holds < 0:
		f.wrong(i9, o, nil, "its row at %s is parked, and no letter holds it up", s)
	case !parked && holds >= 0:
		f.wrong(i9, o, []string{o.Letters[holds].where()}, "a letter holds it up at %s, and its row is not parked: later messages overtake", s)
	}
}

// checkSettled: what a redrive resolved was processed, and what somebody dropped counts as processed. That holds for a letter that
// was edited or restored too: it keeps the id of its message.
func (o *order) checkSettled(one *letter, f *findings) {
	if !one.Ordered || o.heard[one.Service][one.Message] {
		return
	}
	switch {
	case one.Status == letterResolved && !one.Ignored:
		f.wrong(i9, o, []string{one.where()}, "it is resolved, and %s has not processed the message", one.Service)
	case one.Status == letterDropped:
		f.wrong(i9, o, []string{one.where()}, "it is dropped, and at %s the message does not count as processed: it may come again", one.Service)
	}
}

// checkCopy: a letter that waits for somebody has its copy in Kafka, or on its way there.
func (o *order) checkCopy(one *letter, l *look, f *findings) {
	if one.Status != letterNew || !l.log {
		return
	}
	if l.copyMayBeGone(o.ID, one) {
		f.skipped(i9, 1)
		return
	}
	if !slices.ContainsFunc(o.Copies, func(c letterCopy) bool { return c.Letter == one.ID }) {
		f.wrong(i9, o, []string{one.where()}, "%s has no copy of it, and none is on its way", one.Service.letterTopic())
	}
}

// checkLanes: a lane is there exactly while something is open in it, and goes on, or waits for somebody.
func (o *order) checkLanes(f *findings) {
	for _, n := range o.Lanes {
		if o.headOf(n.Service, n.ID) == nil {
			f.wrong(i9, o, nil, "%s has a lane %s, and nothing in it is open", n.Service, n.ID)
		}
	}
	for i := range o.Letters {
		one := &o.Letters[i]
		if o.headOf(one.Service, one.Lane) != one {
			continue
		}
		at := slices.IndexFunc(o.Lanes, func(n lane) bool { return n.Service == one.Service && n.ID == one.Lane })
		switch {
		case at < 0:
			f.wrong(i9, o, []string{one.where()}, "it is open, and has no lane: nobody will ever try it")
		case one.Status != letterNew && o.Lanes[at].Due == 0:
			f.wrong(i9, o, []string{one.where()}, "it comes next in its lane and waits for nobody, but the lane stands still")
		}
	}
}

// headOf is the first open message of a lane; nil if there is none.
func (o *order) headOf(s service, laneID id) *letter {
	for i := range o.Letters {
		if one := &o.Letters[i]; one.Service == s && one.Lane == laneID && one.open() {
			return one
		}
	}
	return nil
}

// checkTurns: what waits at a service waits in the order of the log, and nothing behind it was processed: nothing that comes after it in
// its topic, and nothing that was said, in any topic, when it had been put aside already. Of what had been said by then, nobody can tell
// afterwards which came first.
func (o *order) checkTurns(l *look, f *findings) {
	for i := range o.Letters {
		one := &o.Letters[i]
		if !one.Ordered || !one.open() || one.Touched || one.Service >= services || o.hasDecided(one.Service) {
			continue
		}
		if o.heard[one.Service][one.Message] { // a redrive has just done it, or a replica that came too late put it aside
			continue
		}
		for j := range o.Letters[:i] {
			before := &o.Letters[j]
			if before.Service == one.Service && before.Ordered && before.open() && !before.Touched &&
				before.Topic == one.Topic && before.Partition == one.Partition && before.Offset > one.Offset {
				f.wrong(i9, o, []string{before.where(), one.where()}, "they wait at %s in another order than the log's", one.Service)
			}
		}
		for _, r := range o.events {
			behind := flow[r.Kind].topic == one.Topic && r.Partition == one.Partition && r.Offset > one.Offset
			later := r.ours() && hears(one.Service, r.Kind) && r.At > one.Recorded+slack // a stranger may say any time of its records
			if r.Row == 0 && (behind || later) && o.heard[one.Service][r.ID] && o.letterAt(one.Service, r.ID) == nil {
				f.wrong(i9, o, []string{one.where(), r.where()}, "%s processed the second although the first, which came before it, is not settled", one.Service)
			}
		}
	}
}

// checkCopies: what was published as a letter is one.
func (o *order) checkCopies(l *look, f *findings) {
	seen := map[string]bool{}
	for i := range o.Copies {
		c := &o.Copies[i]
		name := strings.Join([]string{c.Service.String(), c.Letter.String()}, "/")
		if !l.has(c.Service) || seen[name] {
			continue
		}
		seen[name] = true
		young := c.Stamp > l.at[c.Service]-lettersKept.Microseconds()
		known := slices.ContainsFunc(o.Letters, func(one letter) bool { return one.ID == c.Letter })
		if !known && young && (c.Row != 0 || !l.afterwards(c.Service, c.Stamp)) {
			f.wrong(i9, o, []string{c.where()}, "letter %s was published, and is not in the database", c.Letter)
		}
	}
}
