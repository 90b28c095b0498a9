package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func verdictOf(t *testing.T, text string) *Verdict {
	t.Helper()
	v := &Verdict{}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A system that is at rest has no letters in motion, and every order has ended or has a reason that is allowed.
func TestWhatMayBeLeft(t *testing.T) {
	attention := `{"order":"a","status":"NEEDS_ATTENTION","reasons":["an operator has to resolve it"]}`
	given := `{"order":"b","status":"CANCELLING","reasons":["somebody gave up letter 1"]}`
	behind := `{"order":"c","status":"PENDING","reasons":["held up by letter 2"]}`
	for _, c := range []struct {
		verdict string
		dropped bool
		wrong   string // empty: nothing
	}{
		{`{"counts":{"orders":3}}`, false, ""},
		{`{"counts":{"letters":198,"parked":12}}`, true, "198 letters are open, 12 messages are parked"},
		{`{"listedCount":1,"listed":[` + attention + `]}`, false, ""},
		{`{"listedCount":1,"listed":[` + given + `]}`, true, ""},
		{`{"listedCount":1,"listed":[` + given + `]}`, false, "order b is still CANCELLING: somebody gave up letter 1"},
		{`{"listedCount":2,"listed":[` + attention + "," + behind + `]}`, true, "order c is still PENDING: held up by letter 2"},
	} {
		if got := strings.Join(leftOver(verdictOf(t, c.verdict), c.dropped), ", "); got != c.wrong {
			t.Errorf("%s: %q, want %q", c.verdict, got, c.wrong)
		}
	}
}

// What is expected has to come about, and nothing beside it.
func TestOnlyWhatIsExpected(t *testing.T) {
	one := `{"invariants":[{"id":"I8","violations":3}]}`
	for _, c := range []struct {
		verdict string
		wrong   int
	}{
		{one, 0},
		{`{"ok":true,"warnings":["old events are gone"],"invariants":[{"id":"I8"}]}`, 1},
		{`{"invariants":[{"id":"I8","violations":3},{"id":"I1","violations":1}]}`, 1},
		{`{"invariants":[{"id":"I1","violations":1}]}`, 2},
	} {
		if why := only("I8")(&Result{Verdict: verdictOf(t, c.verdict)}); len(why) != c.wrong {
			t.Errorf("%s: %v, want %d things wrong", c.verdict, why, c.wrong)
		}
	}
	if why := only("I7", "I8")(&Result{Verdict: verdictOf(t, one)}); len(why) != 1 {
		t.Errorf("what may come does not stand for what must: %v", why)
	}
}

// What was removed unread has to be counted record by record.
func TestWhatWasRemovedIsCounted(t *testing.T) {
	removed := []Broken{{Fault: "retention-passes", Hits: 59}}
	many := `{"reason":"58 records were removed before notification-service had read them: its offset is 8"}`
	one := `{"reason":"1 records were removed before notification-service had read them: its offset is 7"}`
	other := `{"order":"a","reason":"notification has not processed this PaymentPending"}`
	for _, c := range []struct {
		examples string
		wrong    int
	}{
		{many + "," + one, 0},
		{many, 1},
		{many + "," + one + "," + other, 1},
	} {
		v := verdictOf(t, `{"invariants":[{"id":"I8","violations":2,"examples":[`+c.examples+`]}]}`)
		if why := removedUnread(&Result{Verdict: v, Faults: removed}); len(why) != c.wrong {
			t.Errorf("%s: %q, want %d things wrong", c.examples, why, c.wrong)
		}
	}
}

// A router that finds no server ends, and nothing else excuses it.
func TestWhatExplainsAnEnd(t *testing.T) {
	list := []Broken{
		{Fault: "router-kill", At: time.Second, Healed: 20 * time.Second},
		{Fault: "offsets-rewound", At: time.Second, Healed: 20 * time.Second},
		{Fault: "postgres-kill", At: 10 * time.Second, Healed: 12 * time.Second},
	}
	for _, c := range []struct {
		began, ended time.Duration
		is           bool
	}{
		{2 * time.Second, 9 * time.Second, false},
		{2 * time.Second, 10 * time.Second, true},
		{12 * time.Second, 20 * time.Second, true},
		{2 * time.Second, 40 * time.Second, false},
		{13 * time.Second, 14 * time.Second, false},
	} {
		if got := explained(c.began, c.ended, list); got != c.is {
			t.Errorf("a router that ran from %s to %s: explained %v, want %v", c.began, c.ended, got, c.is)
		}
	}
}

// Fifty ends for one reason are one line.
func TestEndsThatAreAlikeAreOneLine(t *testing.T) {
	var list []alikeEndings
	for n := range 3 {
		list = addEnding(list, ending{router: "router-1", why: "no broker"}, time.Duration(n)*time.Second)
	}
	list = addEnding(list, ending{router: "router-2", why: "no broker"}, 5*time.Second)
	if got, want := fmt.Sprint(list), "[router-1 ended by itself 3 times from 0.0s to 2.0s: no broker router-2 ended by itself at 5.0s: no broker]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheWeatherIsFineSomeTimeAfterTheLastFault(t *testing.T) {
	var x trouble
	now := time.Now()
	if !x.none(now) {
		t.Error("before any fault it is not fine")
	}
	x.begins()
	x.begins()
	x.ends()
	if later := time.Now().Add(2 * fineAfter); x.none(later) {
		t.Error("it is fine while something is broken")
	}
	x.ends()
	if x.none(time.Now().Add(fineAfter / 2)) {
		t.Error("it is fine at once")
	}
	if !x.none(time.Now().Add(2 * fineAfter)) {
		t.Error("it is never fine again")
	}
}

// The slowest service counts, of those that had something to do.
func TestARecoveryIsTheSlowestServices(t *testing.T) {
	var p progress
	p.note(1*time.Second, [len(ordersOf)]int64{1, 1, 1, 1, 1, 0})
	p.note(5*time.Second, [len(ordersOf)]int64{2, 1, 1, 1, 1, 0})
	p.note(6*time.Second, [len(ordersOf)]int64{3, 1, 1, 1, 1, 0})
	p.note(9*time.Second, [len(ordersOf)]int64{3, 2, 1, 1, 1, 0})
	if got, ok := p.after(4 * time.Second); !ok || got != 5*time.Second {
		t.Errorf("the recovery is %s, %v, want the payments' 5 s", got, ok)
	}
	if _, ok := p.after(10 * time.Second); ok {
		t.Error("there is a recovery after the last progress")
	}
	if got := p.standstill(6 * time.Second); got != 4*time.Second {
		t.Errorf("the standstill is %s, want the orders' 4 s", got)
	}
}

// Orders that may be late for another reason than ours show nothing.
func TestSoundOrders(t *testing.T) {
	sound := 0
	for n := range 1000 {
		o := newOrder(1, n, false)
		if !o.sound {
			continue
		}
		sound++
		if body := string(o.body); !strings.Contains(body, `"pm_accepted"`) || strings.Contains(body, "SHIP-") {
			t.Errorf("an order that may be late or unpaid is called sound: %s", body)
		}
	}
	if sound < 200 {
		t.Errorf("%d of 1000 orders are sound: too few to show anything", sound)
	}
}

func TestTheCommandRepeatsTheRun(t *testing.T) {
	kill, err := Named("kill")
	if err != nil {
		t.Fatal(err)
	}
	changed := kill
	changed.Rate, changed.Replicas = 7.5, 4
	for _, c := range []struct {
		of   Config
		want string
	}{
		{Config{Scenario: kill, Seed: 7, Lasts: kill.Lasts, Kafka: EmbeddedKafka}, "go run ./cmd/chaos --scenario kill --seed 7"},
		{Config{Scenario: Random(), Seed: 42, Lasts: 30 * time.Minute, Race: true}, "go run ./cmd/chaos --random --seed 42 --for 30m0s --race"},
		{Config{Scenario: Quick(), Seed: 1, Kafka: RealKafka}, "go run ./cmd/chaos --quick --seed 1 --kafka real"},
		{Config{Scenario: changed, Seed: 7, Env: []string{"A=b c", "D=it's"}, Programs: Programs{Router: "bin/router", Old: "old/router"}},
			`go run ./cmd/chaos --scenario kill --seed 7 --rate 7.5 --replicas 4 --env 'A=b c' --env 'D=it'\''s' --old old/router --router bin/router`},
	} {
		if got := c.of.Command(); got != c.want {
			t.Errorf("it is repeated by\n%s\nwant\n%s", got, c.want)
		}
	}
}

// A fault that does not come is said, with the reason.
func TestWhatIsNotDoneIsSaid(t *testing.T) {
	s := Scenario{Name: "a test's", Faults: []string{"router-kill", "database-clock", "broker-away"}}.withDefaults()
	list, notDone, err := plan(s, 1, calm+time.Millisecond, EmbeddedKafka)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(notDone)
	if len(list) != 1 || len(notDone) != 2 || !slices.ContainsFunc(notDone, func(text string) bool { return text == "database-clock: the database has no clock that can be moved" }) {
		t.Errorf("planned %v, not done %q", list, notDone)
	}
}

// The page hides no scenario, and knows what old results do not say.
func TestThePageHidesNothing(t *testing.T) {
	page := Page([]Result{
		{Scenario: "kill", Seed: 1, Kafka: EmbeddedKafka, Lasted: time.Second, Restarts: 2, OK: true, Verdict: verdictOf(t, `{"counts":{"letters":3}}`)},
		{Scenario: "no-room", Seed: 2, Kafka: EmbeddedKafka, Lasted: time.Second, Rate: 20, Of: &Program{Commit: "0123456789", Changed: true, Race: true},
			NotDone: []string{"disk-full: only root can"}, NeverFelt: []string{"few-connections"}},
	}, "nothing\n")
	for _, want := range []string{
		"| kill: kill -9 of routers at random under load | – |", "routers ended by themselves 2 times, why was not kept",
		"seed 1: 3 letters were open and 0 messages parked, which was not judged then", "| 0123456+ -race |", "not done: disk-full: only root can", "never felt, beside others that were: few-connections",
		"| 12 | too-little-stock: most orders want one article of which there is too little, in crossed lines | – | – | – | – | – | – | – | – | **not run** |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}
