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
}

// mistakes are all of them, in the order of the invariants.
var mistakes = []mistake{
	{fault.LoseOrder, "`POST` answers 202, and nothing is committed", shop, []string{"I1"}, "a client was told that it is accepted, and there is no such order"},
	{fault.SkipProcessed, "a message that comes again is processed again", repeat, []string{"I2"}, "has processed"},
	{fault.ChargeTwice, "a payment is charged under a second key", shop, []string{"I2"}, "the provider captured its money 2 times"},
	{fault.SkipStale, "a row is written over that another replica has changed", replicas, []string{"I2", "I5"}, "was said twice"},
	{fault.DropRefund, "a refund is said to be made, and is not", shop, []string{"I3"}, "its payment is REFUNDED, so the provider should have captured"},
	{fault.KeepStock, "goods are sold and nothing is taken off the shelf, so that any number is sold; the database's check is gone", oversell, []string{"I4"}, "is not available"},
	{fault.SwapEvents, "the relay publishes what it has in the wrong order", jam, []string{"I5"}, "comes behind its version"},
	{fault.Overtake, "two messages of an order are with their handlers at once", jam, []string{"I5"}, "processed the first before the second, which came before it"},
	{fault.LoseWait, "a row waits for a call, and the call is not written down", shop, []string{"I6"}, "and nothing will ever do that"},
	{fault.DeleteRefused, "an event leaves the outbox that the broker refused", refuse, []string{"I7"}, "is neither in the log nor in the outbox"},
	{fault.PublishEarly, "events are published before their transaction commits, which fails", rollback, []string{"I1", "I7"}, "it was never committed"},
	{fault.CommitEarly, "offsets are committed before the messages are processed; then the router is killed", crash, []string{"I8"}, "has neither processed it nor put it aside"},
	{fault.LoseMark, "a dead letter is written without the mark of its order", poison, []string{"I9"}, "and its row is not parked: later messages overtake"},
	{fault.ForgetCorrelation, "each step of an order gets a correlation id of its own", shop, []string{"I11"}, "has the correlation id"},
	{fault.RememberAll, "a row remembers every request about it", ask, []string{"I12"}, "requests and callbacks, more than 256"},
	{fault.CountTwice, "analytics counts each order twice", shop, []string{"I13"}, "the orders add up to"},
	{fault.LoseHistory, "an order changes, and its history does not say so", shop, []string{"H"}, "its history has 0 entries"},
}

// The page tells of each mistake as the test does.
func TestThePageListsTheMistakes(t *testing.T) {
	page, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, m := range mistakes {
		fmt.Fprintf(&table, "| %s | `%s`: %s | … %s … |\n", strings.Join(m.violated, ", "), m.name, m.what, m.said)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/guarantees.md should have\n%s", table.String())
	}
}
