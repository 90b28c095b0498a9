package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what was looked at and what was found.
type Report struct {
	// OK: there is no violation.
	OK         bool  `json:"ok"`
	Violations int64 `json:"violations"`
	// AtRest: the system was said to be.
	AtRest    bool            `json:"atRest"`
	Databases []LookedAt      `json:"databases"`
	Log       []LookedAtTopic `json:"log"`
	Counts    Counts          `json:"counts"`
	// Invariants are in the order of their numbers.
	Invariants []Invariant `json:"invariants"`
	// Listed are orders that have not ended and have a reason, ListedCount all of them.
	Listed      []Listed `json:"listed"`
	ListedCount int64    `json:"listedCount"`
	// Warnings are what could not be looked at.
	Warnings []string `json:"warnings"`
	Bytes    int64    `json:"temporaryBytes"`
	TookMs   int64    `json:"tookMs"`

	passing int64 // of the violations: may be none when a system that stood still has caught up
}

// mayPass tells whether all violations may pass by themselves.
func (r *Report) mayPass() bool { return r.Violations > 0 && r.passing == r.Violations }

// LookedAt is a database, as it was at a moment.
type LookedAt struct {
	Name     string    `json:"name"`
	Services []string  `json:"services"`
	At       time.Time `json:"at"`
}

// LookedAtTopic is a topic, up to the offsets that it was read to.
type LookedAtTopic struct {
	Topic   string  `json:"topic"`
	From    []int64 `json:"from"` // by partition
	UpTo    []int64 `json:"upTo"`
	Removed bool    `json:"removed"` // its beginning is gone
}

// Invariant is what was found about one.
type Invariant struct {
	ID      string `json:"id"`
	Promise string `json:"promise"`
	// Checked things there were, Of what they are. Skipped ones could not be checked any more.
	Checked int64  `json:"checked"`
	Of      string `json:"of"`
	Skipped int64  `json:"skipped"`
	// Exempt ones are not judged, because strangers or people had a word in them.
	Exempt     int64 `json:"exempt"`
	Violations int64 `json:"violations"`
	// Examples are the first of them.
	Examples []Violation `json:"examples"`
	// Note says what else is worth knowing; for what data cannot tell, what shows it.
	Note string `json:"note,omitempty"`
	// Tests show what is not, or not wholly, to be seen in the data.
	Tests []string `json:"tests,omitempty"`
}

// promise is an invariant as the report has it.
type promise struct {
	id, text, of string
	note         string
	tests        []string
}

// promises are the invariants, in order.
var promises = []promise{
	{id: i1, text: "no accepted order is lost", of: "orders"},
	{id: i2, text: "each effect happens once", of: "orders", note: "the simulated carrier keeps no book: parcels go by what shipping said",
		tests: []string{"TestTwoExecutorsNeverMakeTheSameAttempt"}},
	{id: i3, text: "money adds up", of: "payments, currencies"},
	{id: i4, text: "stock adds up, and is never oversold", of: "reservations, articles"},
	{id: i5, text: "events are in order", of: "events"},
	{id: i6, text: "every order ends in time, and settled", of: "orders"},
	{id: i7, text: "what is committed is published, and nothing else", of: "events"},
	{id: i8, text: "offsets follow processing", of: "deliveries"},
	{id: i9, text: "no dead letter is lost, doubled or overtaken", of: "letters, marks"},
	{id: i10, text: "one order does not hold up others", note: "not to be seen in data",
		tests: []string{"TestARowHeldByAnIdleSessionHoldsUpOnlyItsOwnOrder", "TestARefusedRowHoldsUpItsKeyAlone", "TestOnlyMessagesOfAParkedOrderWait"}},
	{id: i11, text: "one correlation id for all of an order", of: "orders", note: "log lines are not looked at",
		tests: []string{"TestEveryLineUnderACauseHasItsCorrelationID"}},
	{id: i12, text: "outbox and rows are bounded", of: "rows", note: "memory, goroutines and connections are not to be seen in data",
		tests: []string{"TestTheSpanIsBounded", "TestALargeBacklogSaysSaturated"}},
	{id: i13, text: "analytics equal a recount", of: "orders, sums"},
	{id: i14, text: "nobody gets in who does not belong", note: "not to be seen in data",
		tests: []string{"TestScopes", "TestVerify", "TestUnsignedReportsAreRefused"}},
	{id: ih, text: "an order is what its history says", of: "orders"},
}

// report sums up, after the last order was checked.
func (v *run) report(took time.Duration) *Report {
	notes := map[string][]string{
		i3:  checkMoneySums(v.sums, v.findings),
		i12: {checkBacklog(v.sums, int64(v.OutboxCap), v.findings)},
	}
	checkRemoved(&v.look, v.sums, v.findings)
	checkMissing(&v.look, v.sums, v.findings)
	checkStock(&v.look, v.sums, v.findings)
	checkOutbox(&v.look, v.sums, v.findings)
	checkSums(&v.look, v.sums, v.findings)
	r := &Report{
		AtRest: v.AtRest, Databases: []LookedAt{}, Log: []LookedAtTopic{}, Counts: v.findings.count, Invariants: []Invariant{},
		Listed: v.findings.list, ListedCount: v.findings.lists, Warnings: v.warnings(), Bytes: v.buckets.Size(), TookMs: took.Milliseconds(),
	}
	if r.Listed == nil {
		r.Listed = []Listed{}
	}
	for _, p := range promises {
		found := v.findings.of(p.id)
		if p.note != "" {
			notes[p.id] = append(notes[p.id], p.note)
		}
		examples := found.examples
		if examples == nil {
			examples = []Violation{}
		}
		r.Invariants = append(r.Invariants, Invariant{
			ID: p.id, Promise: p.text, Checked: found.checked, Of: p.of, Skipped: found.skipped, Exempt: found.exempt, Violations: found.violations,
			Examples: examples, Note: strings.Join(notes[p.id], "; "), Tests: p.tests,
		})
		r.Violations += found.violations
		r.passing += found.passing
	}
	r.OK = r.Violations == 0
	for _, s := range v.snapshots {
		names := []string{}
		for _, here := range s.services() {
			names = append(names, here.String())
		}
		r.Databases = append(r.Databases, LookedAt{s.name, names, time.UnixMicro(s.at).UTC()})
	}
	if v.log != nil {
		r.Log = v.log.lookedAt()
	}
	return r
}

func (l *eventLog) lookedAt() (list []LookedAtTopic) {
	list = []LookedAtTopic{}
	for _, topic := range slices.Sorted(maps.Keys(l.parts)) {
		t := LookedAtTopic{Topic: topic, Removed: len(l.goneFrom(topic)) > 0}
		for _, partition := range slices.SortedFunc(maps.Keys(l.parts[topic]), cmp.Compare[int32]) {
			p := l.parts[topic][partition]
			t.From, t.UpTo = append(t.From, p.start), append(t.UpTo, p.end)
		}
		list = append(list, t)
	}
	return list
}

// warnings say what was not looked at.
func (v *run) warnings() []string {
	list := []string{}
	var missing []string
	for s := range services {
		if !v.look.has(s) {
			missing = append(missing, s.String())
		}
	}
	if len(missing) > 0 {
		list = append(list, fmt.Sprintf("the rows of %s are in none of the databases: what concerns them is not checked", strings.Join(missing, ", ")))
	}
	if v.look.has(payments) && !v.look.provider {
		list = append(list, "the simulated provider's book is not there: who else keeps the money has to be asked, I3 is not checked")
	}
	if v.log == nil {
		return append(list, "no Kafka log was read: I5, I7, I8 and the recount of I13 are not checked")
	}
	list = append(list, v.log.heldBack()...)
	var topics, removed []string
	for _, line := range flow {
		switch {
		case v.log.partitions[line.topic] == 0:
			topics = append(topics, line.topic)
		case len(v.log.goneFrom(line.topic)) > 0:
			removed = append(removed, line.topic)
		}
	}
	if len(topics) > 0 {
		list = append(list, "there are no topics "+strings.Join(topics, ", "))
	}
	if len(removed) > 0 {
		list = append(list, "old events are gone from "+strings.Join(removed, ", ")+": orders as old as that are not compared with them")
	}
	return list
}

// heldBack says what cannot be read for now.
func (l *eventLog) heldBack() (list []string) {
	for _, topic := range slices.Sorted(maps.Keys(l.parts)) {
		for _, partition := range slices.Sorted(maps.Keys(l.parts[topic])) {
			if n := l.parts[topic][partition].hidden; n > 0 {
				list = append(list, fmt.Sprintf("%d records of %s/%d lie behind an open transaction, which none of ours is: nobody can read them until it ends, so what may be among them is not missed", n, topic, partition))
			}
		}
	}
	return list
}
