package chaos

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"millrace/chaos/wire"
)

// What is printed must be enough to do it again.
func TestTheSameSeedBreaksTheSameThings(t *testing.T) {
	for _, s := range []Scenario{Random(), Quick(), scenarios[0].withDefaults()} {
		const seed, lasts = 7, 5 * time.Minute
		one, _, err := plan(s, seed, lasts, EmbeddedKafka)
		if err != nil {
			t.Fatal(err)
		}
		same, _, _ := plan(s, seed, lasts, EmbeddedKafka)
		other, _, _ := plan(s, seed+1, lasts, EmbeddedKafka)
		if len(one) == 0 || !reflect.DeepEqual(one, same) {
			t.Errorf("%s: the same seed plans %v and then %v", s.Name, one, same)
		}
		if reflect.DeepEqual(one, other) {
			t.Errorf("%s: another seed plans the same", s.Name)
		}
	}
	if a, b := newOrder(3, 5, true), newOrder(3, 5, true); string(a.body) != string(b.body) || len(a.follows) != len(b.follows) {
		t.Errorf("the same order is %s and then %s", a.body, b.body)
	}
}

// Two faults at a time are never about the same thing: one would heal what the other one broke.
func TestFaultsDoNotMeet(t *testing.T) {
	for seed := range uint64(50) {
		list, _, err := plan(Random(), seed, 10*time.Minute, EmbeddedKafka)
		if err != nil {
			t.Fatal(err)
		}
		overlaps := 0
		for i, p := range list {
			f, _ := faultNamed(p.Fault)
			for _, q := range list[:i] {
				if q.At+q.Lasts < p.At {
					continue
				}
				overlaps++
				g, _ := faultNamed(q.Fault)
				if slices.ContainsFunc(f.On, func(on string) bool { return slices.Contains(g.On, on) }) {
					t.Errorf("seed %d: %s comes while %s lasts", seed, p.Fault, q.Fault)
				}
			}
		}
		if overlaps == 0 {
			t.Errorf("seed %d: no two faults at a time in %d", seed, len(list))
		}
	}
}

// The plan has twenty-eight scenarios; each is run, or says why not.
func TestEveryScenarioOfThePlan(t *testing.T) {
	const all = 28
	there, names := map[int]bool{}, map[string]bool{}
	for _, s := range scenarios {
		if names[s.Name] {
			t.Errorf("two scenarios are called %s", s.Name)
		}
		there[s.Number], names[s.Name] = true, true
		if (s.Elsewhere == "") == (len(s.Faults) == 0) {
			t.Errorf("scenario %s has neither faults nor a reason, or both", s.Name)
		}
		if _, _, err := plan(s.withDefaults(), 1, time.Minute, EmbeddedKafka); err != nil {
			t.Error(err)
		}
	}
	for number := 1; number <= all; number++ {
		if !there[number] {
			t.Errorf("scenario %d of the plan is missing", number)
		}
	}
}

// A transaction is met between what it writes, whichever it writes first.
func TestTheMiddleOfABatch(t *testing.T) {
	const rows, events = "INSERT INTO notification.orders (order_id) SELECT", "INSERT INTO millrace.outbox (service) SELECT"
	for _, c := range []struct {
		within []string
		text   string
		is     bool
	}{
		{[]string{"BEGIN"}, rows, false},
		{[]string{"BEGIN", rows}, events, true},
		{[]string{"BEGIN", events}, rows, true},
		{[]string{"BEGIN", rows}, "COMMIT", false},
		{[]string{"BEGIN", events}, "INSERT INTO orders.orders (order_id) SELECT", false},
	} {
		if got := isMidBatch(wire.Statement{Text: c.text, Within: c.within}, "notification.orders"); got != c.is {
			t.Errorf("%q after %q: %v, want %v", c.text, c.within, got, c.is)
		}
	}
}

// A fault that no scenario has is never seen.
func TestEveryFaultComes(t *testing.T) {
	drawn := map[string]bool{}
	for _, s := range scenarios {
		for _, name := range s.Faults {
			drawn[name] = true
		}
	}
	for _, f := range faults {
		if !drawn[f.Name] {
			t.Errorf("no scenario has the fault %s", f.Name)
		}
		if f.What == "" || f.Heals == "" || len(f.On) == 0 || f.Longest < f.Shortest {
			t.Errorf("the fault %s is not described: %s", f.Name, fmt.Sprint(f))
		}
		delete(drawn, f.Name)
	}
	if len(drawn) > 0 {
		t.Errorf("there are no faults %v", slices.Sorted(maps.Keys(drawn)))
	}
}
