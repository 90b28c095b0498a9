package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/deadletter/deadlettertest"
	"millrace/event"
	"millrace/outbox"
)

const (
	// tenThousand is how many failures there are at least.
	tenThousand = 10_000
	// tenThousandPatience is for all of them.
	tenThousandPatience = 5 * patience
	perOrder            = 12
	// mostFailures bounds how often a message fails.
	mostFailures = 8
	// killEvery is after how many failures a replica is killed, and another one started.
	killEvery = 500
	// testLease is short: nobody redrives the lanes of a killed replica before it is over.
	testLease = time.Second
)

// chaos is a service of several replicas, in which everything goes wrong.
type chaos struct {
	*testing.T
	dsn      string
	db       *sql.DB
	left     sync.Map // message id -> *atomic.Int64: how often it is still to fail
	failures atomic.Int64
	lost     atomic.Int64 // answers that got lost: the store had committed

	mu       sync.Mutex
	replicas []*replica
	started  int
}

func (c *chaos) react(_ context.Context, l Letter, _ bool, update func() error) error {
	left, _ := c.left.Load(l.MessageID)
	if left.(*atomic.Int64).Add(-1) < 0 {
		return update()
	}
	c.failures.Add(1)
	if rand.N(20) > 0 {
		return fmt.Errorf("boom %s", l.MessageID)
	}
	if err := update(); err != nil {
		return err
	}
	c.lost.Add(1)
	return fmt.Errorf("boom, though message %s took effect", l.MessageID)
}

func (c *chaos) start() {
	c.started++
	name := "replica " + strconv.Itoa(c.started)
	r := newReplica(c.T, pool(c.T, c.dsn, name), name, c.react, Options{})
	r.parking.lease = testLease
	c.replicas = append(c.replicas, r.start(c.T))
}

func (c *chaos) any() *replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas[rand.N(len(c.replicas))]
}

// killOne kills a replica and starts another.
func (c *chaos) killOne() {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := rand.N(len(c.replicas))
	c.replicas[i].kill(c.T, c.db)
	c.replicas = slices.Delete(c.replicas, i, i+1)
	c.start()
}

// log delivers an order's messages, one after the other: each until somebody has it, some twice, some to two at once.
func (c *chaos) log(messages []Letter) {
	for _, l := range messages {
		var deliveries sync.WaitGroup
		for range 1 + max(rand.N(10)-8, 0) {
			deliveries.Go(func() {
				for {
					if _, err := c.any().deliver(c.Context(), l); err == nil || c.Context().Err() != nil {
						return
					}
				}
			})
		}
		deliveries.Wait()
	}
}

// operate decides at random about every letter, until ctx ends; from then on it has all of them redriven. It
// returns when nothing is put aside.
func (c *chaos) operate(ctx context.Context) {
	marks := outbox.NewMarks(c.db, deadlettertest.NewStore(c, c.db))
	desk := NewDesk(c.db, map[string]*outbox.Marks{"seen": marks}, "tester")
	for deadline := time.Now().Add(tenThousandPatience); ; {
		calm := ctx.Err() != nil
		list, err := letters(c.Context(), c.db, "status IN ('new', 'dropped', 'parked') ORDER BY position LIMIT 2000")
		if err != nil {
			c.Error(err)
			return
		}
		var again []string
		for _, l := range list {
			var err error
			switch dice := rand.N(10_000); {
			case l.Status == New && (calm || dice < 6000):
				again = append(again, l.ID)
			case calm:
			case l.Status == New && dice >= 9950, l.Status == Parked && dice == 0:
				err = desk.Drop(c.Context(), l.ID, "dropped")
			case l.Status == Dropped && dice < 30:
				err = desk.Restore(c.Context(), l.ID, "restored")
			}
			var status *StatusError
			if err != nil && !errors.As(err, &status) && !errors.Is(err, ErrProcessed) && !errors.Is(err, ErrNoLetter) && !outbox.IsTransient(err) {
				c.Error(err)
			}
		}
		if _, err := desk.Redrive(c.Context(), again, "again"); err != nil && !outbox.IsTransient(err) {
			c.Error(err)
		}
		switch {
		case calm && number(c.T, c.db, openLanes) == 0:
			return
		case time.Now().After(deadline):
			c.Errorf("%d lanes do not come to their end", number(c.T, c.db, openLanes))
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

// check compares what an order saw with what was delivered. Dropped messages are missing, those that
// were restored may be late; all others are there once, in order.
func (c *chaos) check(r *replica, order event.OrderID, messages []Letter, dropped, restored map[string]bool) {
	saw := r.seen(c.T, order)
	var inOrder []int
	times := map[int]int{}
	late := map[int]bool{}
	for i, l := range messages {
		late[i] = restored[l.ID]
	}
	for _, s := range saw {
		n, err := strconv.Atoi(s)
		if err != nil {
			c.Fatal(err)
		}
		times[n]++
		if !late[n] {
			inOrder = append(inOrder, n)
		}
	}
	if !slices.IsSorted(inOrder) {
		c.Errorf("order %s was processed as %v", order, saw)
	}
	for i, l := range messages {
		want := 1
		if dropped[l.ID] {
			want = 0
		}
		if times[i] != want {
			c.Errorf("order %s, message %d: processed %d times, want %d: %v", order, i, times[i], want, saw)
		}
	}
}

// Whatever fails, however often, whoever decides about it meanwhile, and whichever process is killed: each order is
// processed in order, whole but for what was dropped, and nothing of it twice.
func TestEachOrderIsProcessedInOrder(t *testing.T) {
	t.Parallel()
	dsn := migratedDSN(t)
	c := &chaos{T: t, dsn: dsn, db: pool(t, dsn, "test")}
	for range 3 {
		c.start()
	}
	planned := 0
	orders := map[event.OrderID][]Letter{}
	for planned < tenThousand*11/10 { // some are not met: their message is dropped first
		order := newOrder()
		orders[order] = messages(order, perOrder)
		for _, l := range orders[order] {
			left := new(atomic.Int64)
			if rand.N(2) > 0 {
				left.Store(1 + rand.Int64N(mostFailures))
			}
			planned += int(left.Load())
			c.left.Store(l.MessageID, left)
		}
	}
	busy, calm := context.WithCancel(t.Context())
	var operators, logs sync.WaitGroup
	for range 2 {
		operators.Go(func() { c.operate(busy) })
	}
	for _, messages := range orders {
		logs.Go(func() { c.log(messages) })
	}
	kills := int64(0)
	deadlettertest.Within(t, tenThousandPatience, "ten thousand failures", func() bool {
		if n := c.failures.Load(); n > (kills+1)*killEvery {
			kills++
			c.killOne()
		}
		return c.failures.Load() >= tenThousand*9/10
	})
	logs.Wait()
	calm()
	operators.Wait()
	settled(t, c.db)
	dropped, restored := idsOf(t, c.db, "SELECT id FROM deadletter.letters WHERE status = 'dropped'"), idsOf(t, c.db, "SELECT letter_id FROM deadletter.steps WHERE action = 'restored'")
	r := c.any()
	for order, messages := range orders {
		c.check(r, order, messages, dropped, restored)
	}
	t.Logf("%d failures (%d of them after the message had taken effect) of %d messages of %d orders; %d replicas killed; %d letters dropped, %d restored",
		c.failures.Load(), c.lost.Load(), len(orders)*perOrder, len(orders), kills, len(dropped), len(restored))
	if c.failures.Load() < tenThousand || kills == 0 || len(dropped) == 0 || len(restored) == 0 {
		t.Error("that is less than was to be tried")
	}
}

func idsOf(t *testing.T, db *sql.DB, query string) map[string]bool {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}
