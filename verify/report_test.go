package verify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"millrace/verify/spill"
)

// reportOf is the report on a world, as run makes it.
func reportOf(t *testing.T, w *world) *Report {
	t.Helper()
	b, err := spill.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	f := newFindings(1)
	for _, s := range w.all() {
		s.conclude(&w.look)
		checkOrder(s.order, &w.look, w.sums, f)
	}
	v := &run{buckets: b, look: w.look, sums: w.sums, findings: f, snapshots: []*snapshot{
		{name: "shop", at: now, tables: map[string]bool{serviceTables[orders]: true, serviceTables[payments]: true}}}}
	v.log = &eventLog{partitions: map[string]int32{flow[orderCreated].topic: 2}, parts: map[string]map[int32]*part{
		flow[orderCreated].topic: {0: {start: 0, end: 1500, next: 1500}, 1: {start: 7, end: 9, next: 9, gone: now}}}}
	return v.report(1234 * time.Millisecond)
}

func TestTheReportSaysWhatWasFound(t *testing.T) {
	w := newWorld()
	w.level(func(l *level) { l.Sold++; l.Available-- })
	w.paid.Account.Captures, w.paid.Account.CapturedAmount = 2, 2*price.Amount
	w.cancelled.Account.Captures, w.cancelled.Account.CapturedAmount = 2, 2*price.Amount
	r := reportOf(t, w)
	if r.OK || r.Violations != 3 {
		t.Errorf("%d violations, ok %t; want 3", r.Violations, r.OK)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Database shop as of 2027-01-15T08:00:00Z: order, payment",
		"Kafka up to its ends a moment later: 1 topics, 2 partitions, 1,502 records",
		"4 orders, ",
		"captured its money 2 times",
		"and 1 more",
		"MUG-RED: 3 pieces are sold, the reservations come to 2",
		"order " + w.paid.ID.String() + ": ",
		"EUR: captured 10000, refunded 2500",
		"TestScopes",
		"order " + w.parked.ID.String() + ", CANCELLING: held up by letter ",
		"Not looked at: old events are gone from ecommerce.orders.created",
		"3 violations.",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("nothing says %q in\n%s", want, text.String())
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "null") {
		t.Errorf("a list is null: %s", data)
	}
	var back struct {
		OK         bool
		Violations int
		Invariants []struct {
			ID         string
			Checked    int
			Violations int
			Examples   []Violation
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Invariants) != len(promises) || back.Violations != 3 || back.Invariants[1].ID != "I2" || back.Invariants[1].Violations != 2 || len(back.Invariants[1].Examples) != 1 {
		t.Errorf("%s", data)
	}
}

// Whoever waits for rest goes on waiting while all that is wrong may pass.
func TestViolationsThatMayPass(t *testing.T) {
	late := func() *world {
		w := newWorld()
		w.parked.Waits[0].Due = 0
		return w
	}
	if r := reportOf(t, late()); r.Violations != 1 || !r.mayPass() {
		t.Errorf("%d violations, of which %d may pass", r.Violations, r.passing)
	}
	w := late()
	w.level(func(l *level) { l.Sold++; l.Available-- })
	if r := reportOf(t, w); r.Violations != 2 || r.mayPass() {
		t.Errorf("%d violations, of which %d may pass", r.Violations, r.passing)
	}
	if reportOf(t, newWorld()).mayPass() {
		t.Error("there is none")
	}
}

func TestAGoodReport(t *testing.T) {
	r := reportOf(t, newWorld())
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !r.OK || !strings.HasSuffix(text.String(), "\nNo violation.\n") {
		t.Errorf("%s", text.String())
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
