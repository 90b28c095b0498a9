package transporttest

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// ledger writes down what was delivered, over all members of a group.
type ledger struct {
	mu         sync.Mutex
	first      map[string][]int // per key: numbers in the order of their first delivery
	acked      map[string]int
	deliveries int
	busy       map[string]int // per key: how many are in flight
	together   []string       // keys that had two in flight
	mostBusy   int
}

func newLedger() *ledger {
	return &ledger{first: map[string][]int{}, acked: map[string]int{}, busy: map[string]int{}}
}

// begin notes a delivery, end its answer.
func (l *ledger) begin(msg *message.Message) string {
	d, _ := transport.DeliveryFrom(msg.Context())
	n, _ := strconv.Atoi(string(msg.Payload))
	key := string(d.Key)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries++
	if !slices.Contains(l.first[key], n) {
		l.first[key] = append(l.first[key], n)
	}
	l.busy[key]++
	if l.busy[key] > 1 {
		l.together = append(l.together, key)
	}
	l.mostBusy = max(l.mostBusy, len(l.busy))
	return key
}

func (l *ledger) end(msg *message.Message, key string, ack bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[key]--; l.busy[key] == 0 {
		delete(l.busy, key)
	}
	if ack {
		l.acked[msg.UUID]++
	}
	return ack
}

// handle acknowledges everything.
func (l *ledger) handle(msg *message.Message) bool { return l.end(msg, l.begin(msg), true) }

func (l *ledger) finished() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *ledger) delivered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deliveries
}

// saw says whether a key's message of that number was delivered.
func (l *ledger) saw(key string, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.first[key], n)
}

// checkOrder demands that each key's numbers came for the first time as 0, 1, 2 …
func (l *ledger) checkOrder(t *testing.T, keys, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range keys {
		got := l.first[key(k)]
		if len(got) != n {
			t.Errorf("%s: %d messages were delivered, want %d", key(k), len(got), n)
		}
		if !slices.IsSorted(got) {
			t.Errorf("%s: out of order: %v", key(k), got)
		}
	}
}

// checkAlone demands that no key had two messages in flight.
func (l *ledger) checkAlone(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.together) > 0 {
		t.Errorf("two messages of one key were in flight: %v", l.together)
	}
}
