package fault_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"millrace/fault"
)

// mistake is one that is built in, and what becomes of it.
type mistake struct {
	name, what string
	play       play
	violated   []string // the invariants that it turns red
	said       string   // what verify says of it, without the ids
	// mayViolate are those of which it turns some red, where chance has a hand in what it breaks.
	mayViolate []string
}

// mistakes are all of them, in the order of the invariants.
var mistakes = []mistake{
	{fault.LoseOrder, "`POST` answers 202, and nothing is committed", shop, []string{"I1"}, "a client was told that it is accepted, and there is no such order", nil},
	{fault.SkipProcessed, "a message that comes again is processed again", repeat, []string{"I2"}, "has processed", nil},
	{fault.ChargeTwice, "a payment is charged under a second key", shop, []string{"I2"}, "the provider captured its money 2 times", nil},
	{fault.DropRefund, "a refund is said to be made, and is not", shop, []string{"I3"}, "its payment is REFUNDED, so the provider should have captured", nil},
	{fault.KeepStock, "goods are sold and nothing is taken off the shelf, so that any number is sold; the database's check is gone", oversell, []string{"I4"}, "is not available", nil},
	{fault.SwapEvents, "the relay publishes what it has in the wrong order", jam, []string{"I5"}, "comes behind its version", nil},
	{fault.Overtake, "two messages of an order are with their handlers at once", jam, []string{"I5"}, "processed the first before the second, which came before it", nil},
	{fault.LoseWait, "a row waits for a call, and the call is not written down", shop, []string{"I6"}, "and nothing will ever do that", nil},
	{fault.DeleteRefused, "an event leaves the outbox that the broker refused", refuse, []string{"I7"}, "is neither in the log nor in the outbox", nil},
	{fault.PublishEarly, "events are published before their transaction commits, which fails", rollback, []string{"I1", "I7"}, "it was never committed", nil},
	{fault.CommitEarly, "offsets are committed before the messages are processed; then the router is killed", crash, []string{"I8"}, "has neither processed it nor put it aside", nil},
	{fault.LoseMark, "a dead letter is written without the mark of its order", poison, []string{"I9"}, "and its row is not parked: later messages overtake", nil},
	{fault.ForgetCorrelation, "each step of an order gets a correlation id of its own", shop, []string{"I11"}, "has the correlation id", nil},
	{fault.RememberAll, "a row remembers every request about it", ask, []string{"I12"}, "requests and callbacks, more than 256", nil},
	{fault.CountTwice, "analytics counts each order twice", shop, []string{"I13"}, "the orders add up to", nil},
	{fault.SkipStale, "a row is written over that another replica has changed", replicas, nil, "", []string{"I2", "I3", "I4", "I5", "I6", "I7", "I13", "H"}},
	{fault.LoseHistory, "an order changes, and its history does not say so", shop, []string{"H"}, "its history has 0 entries", nil},
}

// The page tells of each mistake as the test does.
func TestThePageListsTheMistakes(t *testing.T) {
	page, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, m := range mistakes {
		red := strings.Join(m.violated, ", ")
		if m.mayViolate != nil {
			red = "some of " + strings.Join(m.mayViolate, ", ")
		}
		said := "… " + m.said + " …"
		if m.said == "" {
			said = "what was lost with the other's change"
		}
		fmt.Fprintf(&table, "| %s | `%s`: %s | %s |\n", red, m.name, m.what, said)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/guarantees.md should have\n%s", table.String())
	}
}
