package verify

import (
	"slices"
	"strings"
	"testing"
)

// strange puts a stranger's record into the log.
func (s *story) strange(k kind, readable bool) *record {
	r := s.saysUnheard(k, "", "")
	s.row(r.Source).Said--
	r.Version, r.Source, r.Correlation, r.Offset, r.Readable = 0, stranger, "theirs", 700, readable
	return r
}

// givesUpUnread drops what nobody can read, everywhere: it counts as processed, and has changed nothing.
func (s *story) givesUpUnread(r *record) {
	for _, of := range flow[r.Kind].consumers {
		s.putAside(of, r, letterDropped)
		one := &s.Letters[len(s.Letters)-1]
		one.Ordered, one.Lane = false, one.ID
		s.row(of).Processed = append(s.row(of).Processed, r.ID)
	}
}

// What others decide that does not concern the services a rule is about excuses nothing of theirs.
func TestWhatOthersDecideElsewhereExcusesNothing(t *testing.T) {
	for meddling, meddle := range map[string]func(s *story){
		"a notice was given up": func(s *story) {
			s.putAside(notification, s.event(orderCreated), letterDropped)
			s.hears(notification, s.event(orderCreated))
		},
		"what nobody can read was given up": func(s *story) {
			r := s.strange(orderCreated, false)
			r.At = now - 7200*second // before all that was said
			s.givesUpUnread(r)
		},
		"analytics was told something else": func(s *story) {
			s.putAside(analytics, s.event(orderCreated), letterResolved)
			s.Letters[len(s.Letters)-1].Touched = true
			s.hears(analytics, s.event(orderCreated))
		},
		"a stranger sent what nobody can read": func(s *story) {
			r := s.strange(orderCreated, false)
			for _, of := range flow[orderCreated].consumers {
				s.putAside(of, r, letterNew)
				one := &s.Letters[len(s.Letters)-1]
				one.Ordered, one.Lane = false, one.ID
				s.Lanes = append(s.Lanes, lane{Service: of, ID: one.ID})
				s.Copies = append(s.Copies, letterCopy{Service: of, Letter: one.ID, Stamp: s.at})
			}
		},
		"a stranger sent what nobody does anything with": func(s *story) { s.strange(notificationSent, true) },
	} {
		for _, name := range []string{"", "cancelled, and the payment is kept", "delivered, and not sent", "the payment is of another total",
			"another article is reserved than ordered", "others know an order that there is not"} {
			w, d := newWorld(), damage{do: func(*world) {}}
			for _, s := range []*story{w.paid, w.cancelled, w.parked} {
				meddle(s)
			}
			if name != "" {
				d = damages[slices.IndexFunc(damages, func(d damage) bool { return d.name == name })]
			}
			d.do(w)
			f := w.check()
			if got := strings.Join(violated(f), " "); got != d.want {
				t.Errorf("%s, %s: violated %q, want %q\n%s", meddling, name, got, d.want, f.text())
			}
		}
	}
}

// What is not judged is counted.
func TestExemptionsAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want map[string]int64
	}{
		"payment has dropped a message": {func(w *world) {
			s := w.cancelled
			s.putAside(payments, s.event(orderCancelled), letterDropped)
			s.hears(payments, s.event(orderCancelled))
		}, map[string]int64{i3: 1, i5: 1, i6: 1}},
		"inventory has dropped one": {func(w *world) {
			s := w.paid
			s.putAside(inventory, s.event(orderCreated), letterDropped)
			s.hears(inventory, s.event(orderCreated))
		}, map[string]int64{i4: 1, i5: 1, i6: 1}},
		"analytics has dropped one": {func(w *world) {
			s := w.paid
			s.putAside(analytics, s.event(orderCreated), letterDropped)
			s.hears(analytics, s.event(orderCreated))
		}, map[string]int64{i5: 1, i13: 1}},
		"payment had dropped one, long ago": {func(w *world) {
			w.cancelled.Decided = []decided{{payments}}
		}, map[string]int64{i3: 1, i5: 1, i6: 1}},
		"the order has heard a stranger": {func(w *world) {
			w.paid.hears(orders, w.paid.strange(inventoryReleased, true))
		}, map[string]int64{i3: 1, i4: 1, i6: 1, i11: 1}},
		"a stranger has placed an order": {func(w *world) {
			theirs := &story{order: &order{ID: anyID()}, world: w, at: now - 3600*second}
			r := theirs.strange(orderCreated, true)
			theirs.Rows[orders] = nil
			for _, of := range flow[orderCreated].consumers {
				theirs.hears(of, r)
			}
			theirs.row(analytics).Analysed.contribute(w.sums.stored)
			w.begun = theirs
		}, map[string]int64{i1: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.do(w)
			f := passes(t, w)
			for _, p := range promises {
				if got := f.of(p.id).exempt; got != c.want[p.id] {
					t.Errorf("%s: %d are not judged, want %d", p.id, got, c.want[p.id])
				}
			}
		})
	}
}

// That somebody decided about an order long ago excuses what is as old as that, and nothing younger.
func TestADecisionOfLongAgoExcusesWhatIsAsOld(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *story, at int64)
		want string
	}{
		"a message that its service has nothing of": {func(s *story, at int64) {
			r := s.event(inventoryUpdate)
			s.unhear(inventory, r)
			r.Stamp = at
		}, i8},
		"a message that is nowhere": {func(s *story, at int64) {
			heard := anyID()
			for i := range 6 { // a UUIDv7 begins with its time, in milliseconds
				heard[i] = byte(at / 1000 >> (8 * (5 - i)))
			}
			s.row(inventory).Processed = append(s.row(inventory).Processed, heard)
		}, i7},
	} {
		for age, want := range map[int64]string{lettersKept.Microseconds() + second: "", lettersKept.Microseconds() - second: c.want} {
			w := newWorld()
			w.paid.Decided = []decided{{inventory}}
			c.do(w.paid, now-age)
			if got := strings.Join(violated(w.check()), " "); got != want {
				t.Errorf("%s, %d s old: violated %q, want %q", name, age/second, got, want)
			}
		}
	}
}
