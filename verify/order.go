package verify

import (
	"cmp"
	"fmt"
	"slices"

	"millrace/verify/spill"
)

// order is all that is known of one order; or, where a message's key names none, of that message.
type order struct {
	ID       id
	Accepted bool // a client was told so
	Rows     [services]*row
	Account  *account
	History  []entry
	Log      []record // by topic, partition and offset
	Unsent   []record // in the outbox, in the order of their rows
	Waits    []wait
	Sent     []sent
	Letters  []letter // by position
	Lanes    []lane
	Copies   []letterCopy
	Decided  []decided

	// What follows from these.

	events []*record // first occurrences: of the log, and behind them of the outbox
	again  []pair    // records that came again, each with its first occurrence
	lookup map[id]*record
	heard  [services]map[id]bool
	twice  [services][]id // causes that a row has processed more than once
	quiet  bool
	stands bool // something has been somebody's turn for too long
}

// pair is a record and one that came with the same id before it.
type pair struct{ first, again *record }

// collect reads a bucket's facts and puts those of one order together.
func collect(b *spill.Buckets, bucket int) (map[id]*order, error) {
	all := map[id]*order{}
	err := b.Read(bucket, func(of [16]byte, t byte, c *spill.Coder) error {
		o := all[of]
		if o == nil {
			o = &order{ID: of}
			all[of] = o
		}
		return o.take(t, c)
	})
	return all, err
}

func (o *order) take(t tag, c *spill.Coder) error {
	switch t {
	case tagRow:
		r := &row{}
		r.Code(c)
		o.Rows[r.Service] = r
	case tagEntry:
		appendFact(&o.History, c, (*entry).Code)
	case tagRecord:
		appendFact(&o.Log, c, (*record).Code)
	case tagUnsent:
		appendFact(&o.Unsent, c, (*record).Code)
	case tagWait:
		appendFact(&o.Waits, c, (*wait).Code)
	case tagAccount:
		o.Account = &account{}
		o.Account.Code(c)
	case tagSent:
		appendFact(&o.Sent, c, (*sent).Code)
	case tagLetter:
		appendFact(&o.Letters, c, (*letter).Code)
	case tagLane:
		appendFact(&o.Lanes, c, (*lane).Code)
	case tagCopy:
		appendFact(&o.Copies, c, (*letterCopy).Code)
	case tagDecided:
		appendFact(&o.Decided, c, (*decided).Code)
	case tagAccepted:
		o.Accepted = true
	default:
		return fmt.Errorf("a temporary file has a fact of kind %d, which there is not", t)
	}
	return nil
}

func appendFact[F any](list *[]F, c *spill.Coder, code func(*F, *spill.Coder)) {
	var f F
	code(&f, c)
	*list = append(*list, f)
}

// conclude puts the facts in order, and works out what several checks need.
func (o *order) conclude(l *look) {
	slices.SortFunc(o.History, func(a, b entry) int { return cmp.Compare(a.Version, b.Version) })
	slices.SortFunc(o.Log, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	slices.SortFunc(o.Unsent, func(a, b record) int { return cmp.Compare(a.Row, b.Row) })
	slices.SortFunc(o.Letters, func(a, b letter) int { return cmp.Compare(a.Position, b.Position) })
	o.lookup = make(map[id]*record, len(o.Log)+len(o.Unsent))
	for _, list := range [][]record{o.Log, o.Unsent} {
		for i := range list {
			r := &list[i]
			if first := o.lookup[r.ID]; first != nil {
				o.again = append(o.again, pair{first, r})
				continue
			}
			o.lookup[r.ID] = r
			o.events = append(o.events, r)
		}
	}
	for s, r := range o.Rows {
		if r == nil {
			continue
		}
		o.heard[s] = make(map[id]bool, len(r.Processed))
		for _, i := range r.Processed {
			if o.heard[s][i] {
				o.twice[s] = append(o.twice[s], i)
			}
			o.heard[s][i] = true
		}
	}
	o.quiet = o.isQuiet(l)
}

// said is how many events a service's row says it has said.
func (o *order) said(s service) int64 {
	if s >= services || o.Rows[s] == nil {
		return 0
	}
	return o.Rows[s].Said
}

// placed tells whether the order service has the order; a row that only remembers is not one.
func (o *order) placed() bool {
	r := o.Rows[orders]
	return r != nil && r.Unreadable == "" && r.Order.Status != ""
}

// everyone are the services.
var everyone = []service{orders, payments, inventory, shipping, notification, analytics}

// foreign tells whether others than our services have told something to one of these: what it then comes to is theirs to judge. What
// a service does not hear, or cannot read and has not been made to take, changes nothing there.
func (o *order) foreign(list ...service) bool {
	return slices.ContainsFunc(o.events, func(r *record) bool {
		return !r.ours() && slices.ContainsFunc(list, func(s service) bool {
			if !hears(s, r.Kind) || !r.Readable || !leavesTrace(s, r) {
				return o.heard[s][r.ID] && !isGivenUpUnread(o.letterAt(s, r.ID))
			}
			return true
		})
	})
}

// meddled tells whether somebody decided about a message of it at one of these services: gave it up, or changed it.
func (o *order) meddled(list ...service) bool {
	return slices.ContainsFunc(list, o.hasDecided) || slices.ContainsFunc(o.Letters, func(l letter) bool {
		return (l.Touched || l.Status == letterDropped) && slices.Contains(list, l.Service) && !isGivenUpUnread(&l)
	})
}

// hasDecided tells whether somebody decided at a service about a letter that is not kept any more.
func (o *order) hasDecided(s service) bool { return slices.Contains(o.Decided, decided{s}) }

// exempt tells whether others have decided, with a record of theirs or about a letter, what these services did.
func (o *order) exempt(list ...service) bool { return o.foreign(list...) || o.meddled(list...) }

// letterAt is the letter that a service has about a message; nil if there is none.
func (o *order) letterAt(s service, message id) *letter {
	for i := range o.Letters {
		if l := &o.Letters[i]; l.Service == s && l.Message == message {
			return l
		}
	}
	return nil
}

// hasHeard tells whether a service is done with an event, or has put it aside, or has nothing to do with it.
func (o *order) hasHeard(s service, r *record) bool {
	return o.heard[s][r.ID] || o.letterAt(s, r.ID) != nil || !leavesTrace(s, r)
}

// core are the services between which the saga goes to and fro.
var core = []service{orders, payments, inventory, shipping}

// isQuiet tells whether nothing is on its way between the core services, and nothing will come by
// itself: only then must their rows agree, wherever and whenever each was read. A row that changed after
// its snapshot either said so, and then the log has a later record than the row counts; or it
// waited for something, or did nothing that concerns the others.
func (o *order) isQuiet(l *look) bool {
	if !l.log || o.exempt(core...) || len(o.Unsent) > 0 || l.hides(o.ID) != "" {
		return false
	}
	for _, s := range core {
		if !l.has(s) {
			return false
		}
		if r := o.Rows[s]; r != nil && (r.Unreadable != "" || r.Parked || s != orders && len(r.Waiting) > 0) {
			return false
		}
	}
	for _, r := range o.events {
		if !r.ours() {
			continue // a stranger's, and no concern of the core's
		}
		if r.Source >= services || r.Version > o.said(r.Source) {
			return false
		}
		for _, s := range flow[r.Kind].consumers {
			if slices.Contains(core, s) && !o.heard[s][r.ID] && leavesTrace(s, r) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(o.Letters, func(l letter) bool {
		return l.open() && slices.Contains(core, l.Service) && !o.nobodyReads(&l)
	})
}

// nobodyReads tells whether a letter is about a stranger's record that no service can read: it stays one, and changes nothing.
func (o *order) nobodyReads(l *letter) bool {
	r := o.lookup[l.Message]
	return r != nil && !r.ours() && !r.Readable
}

// isGivenUpUnread tells whether somebody has dropped a letter of which nobody can tell what order it is about, as it came: it was
// nothing to this one, and counts as processed only so that it does not come again.
func isGivenUpUnread(l *letter) bool {
	return l != nil && l.Status == letterDropped && !l.Touched && !l.Ordered
}

// since is the earliest time at which anything is known of the order; 0 if its rows are unknown.
func (o *order) since() (at int64) {
	for _, r := range o.Rows {
		if r != nil && (at == 0 || r.Created < at) {
			at = r.Created
		}
	}
	return at
}
