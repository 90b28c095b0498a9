package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestAnUpdateCommitsRowEventsWaitsAndCauseTogether(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id, cause := newOrder(), uuid.NewString()
		change := func(b *basket) ([]event.Event, error) {
			b.Steps = []string{"call"}
			return count(b)
		}
		for range 3 { // the same cause again changes nothing, for ever
			if err := f.store.Update(because(t.Context(), cause), id, change); err != nil {
				t.Fatal(err)
			}
		}
		row, ok, err := f.store.Load(t.Context(), id)
		if err != nil || !ok || row.N != 1 {
			t.Fatalf("row %+v, %v, %v; want N 1", row, ok, err)
		}
		out := f.outbox(t)
		if len(out) != 1 {
			t.Fatalf("%d events in the outbox, want 1", len(out))
		}
		if out[0].Topic != "ecommerce.order.cancelled" || string(out[0].Key) != string(id) {
			t.Errorf("topic %s, key %s", out[0].Topic, out[0].Key)
		}
		for name, want := range map[string]string{
			HeaderType: "OrderCancelled", HeaderSource: "basket", HeaderSubject: string(id), HeaderOrderVersion: "1",
			HeaderCorrelationID: "corr", HeaderCausationID: cause, HeaderSchemaVersion: "1", HeaderSpecVersion: "1.0",
		} {
			if got := headerOf(out[0], name); got != want {
				t.Errorf("header %s is %q, want %q", name, got, want)
			}
		}
		if headerOf(out[0], HeaderUUID) != headerOf(out[0], HeaderID) || headerOf(out[0], HeaderID) == "" {
			t.Error("the message's id and ce_id differ")
		}
		if w := f.waits(t); len(w) != 1 || f.history(t, id) != 1 || f.sum(t) != 1 {
			t.Errorf("waits %v, %d history entries, sum %d; want one of each", w, f.history(t, id), f.sum(t))
		}
	})
}

func TestAWaitThatStaysKeepsItsDueTime(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id := newOrder()
		set := func(steps ...string) {
			t.Helper()
			if err := f.store.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) { b.Steps = steps; return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}
		set("a", "b")
		before := f.waits(t)
		set("b", "c")
		after := f.waits(t)
		if len(after) != 2 || !after["b"].Equal(before["b"]) || after["c"].IsZero() {
			t.Errorf("before %v, after %v: b must keep its time, a must be gone, c be there", before, after)
		}
	})
}

func TestACommandOnAnUnknownOrderCreatesNothing(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id := newOrder()
		if err := f.store.UpdateExisting(fresh(t.Context()), id, count); !errors.Is(err, event.ErrUnknownOrder) {
			t.Fatalf("error %v, want ErrUnknownOrder", err)
		}
		if _, ok, err := f.store.Load(t.Context(), id); ok || err != nil {
			t.Fatalf("row exists: %v, %v", ok, err)
		}
	})
}

func TestAFailedChangeLeavesNothingBehindAndItsNeighboursAlone(t *testing.T) {
	boom := errors.New("boom")
	bad := map[string]func(b *basket) ([]event.Event, error){
		"error":          func(b *basket) ([]event.Event, error) { b.N, b.Steps = 99, []string{"x"}; return nil, boom },
		"panic":          func(b *basket) ([]event.Event, error) { b.N = 99; panic("boom") },
		"panic after it": func(b *basket) ([]event.Event, error) { b.N, b.Note = 99, unwritable; return nil, nil },
		"foreign": func(b *basket) ([]event.Event, error) {
			b.N = 99
			return []event.Event{event.OrderCancelled{OrderID: newOrder()}}, nil
		},
		"database": func(b *basket) ([]event.Event, error) {
			b.Note = "a\x00b" // no Postgres text can hold it: SQLSTATE 22021
			return nil, nil
		},
	}
	forBoth(t, func(t *testing.T, f *fixture) {
		for name, change := range bad {
			if name == "database" && f.db == nil {
				continue
			}
			t.Run(name, func(t *testing.T) {
				id := newOrder()
				others := make([]event.OrderID, 20)
				var wg sync.WaitGroup
				var badErr error
				for i := range others {
					others[i] = newOrder()
					wg.Go(func() {
						if err := f.store.Update(fresh(t.Context()), others[i], count); err != nil {
							t.Errorf("neighbour: %v", err)
						}
					})
				}
				wg.Go(func() { badErr = f.store.Update(fresh(t.Context()), id, change) })
				wg.Wait()
				if badErr == nil {
					t.Fatal("the bad change was accepted")
				}
				if name == "error" && !errors.Is(badErr, boom) {
					t.Errorf("error %v, want the change's own", badErr)
				}
				if p, ok := errors.AsType[interface {
					error
					Permanent() bool
				}](badErr); name != "error" && (!ok || !p.Permanent()) {
					t.Errorf("%v is not permanent", badErr)
				}
				if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
					t.Fatal(err)
				}
				if row, _, err := f.store.Load(t.Context(), id); err != nil || row.N != 1 || len(row.Steps) != 0 {
					t.Errorf("row %+v, %v: the failed change left something", row, err)
				}
			})
		}
	})
}

func TestConcurrentUpdatesShareTransactions(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		const callers = 400
		entered, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		f.wrap(func(do func() error) error {
			once.Do(func() { close(entered); <-release })
			return do()
		})
		id := newOrder()
		var wg sync.WaitGroup
		update := func() {
			if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
				t.Error(err)
			}
		}
		wg.Go(update)
		<-entered
		for range callers {
			wg.Go(update)
		}
		eventually(t, func() bool { f.store.mu.Lock(); defer f.store.mu.Unlock(); return len(f.store.queue) == callers })
		close(release)
		wg.Wait()
		if row, _, _ := f.store.Load(t.Context(), id); row.N != callers+1 {
			t.Errorf("counted %d of %d", row.N, callers+1)
		}
		if got := f.commits.Load(); got != 2 {
			t.Errorf("%d transactions, want 2: the first, and one for all that waited", got)
		}
		var last int64
		for _, r := range f.outbox(t) {
			var v int64
			if _, err := fmt.Sscan(headerOf(r, HeaderOrderVersion), &v); err != nil || v != last+1 {
				t.Fatalf("ce_orderversion %d after %d: %v", v, last, err)
			}
			last = v
		}
	})
}

func TestWhateverMayPassIsRunAgain(t *testing.T) {
	ends := map[string]func(do func() error) error{
		"nothing was committed":         func(func() error) error { return errors.New("connection reset") },
		"the answer to COMMIT got lost": func(do func() error) error { return errors.Join(do(), errors.New("connection reset")) },
	}
	forBoth(t, func(t *testing.T, f *fixture) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				var failures atomic.Int64
				f.wrap(func(do func() error) error {
					if failures.Add(1) <= 3 {
						return end(do)
					}
					return do()
				})
				id := newOrder()
				before := len(f.outbox(t))
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				row, _, err := f.store.Load(t.Context(), id)
				if err != nil || row.N != 50 {
					t.Errorf("counted %d of 50: %v", row.N, err)
				}
				if f.db != nil {
					if got := len(f.outbox(t)) - before; got != 50 {
						t.Errorf("%d events for 50 updates", got)
					}
				}
			})
		}
	})
}

func TestManyOrdersOnOneSKUNeverTakeMoreThanThereIs(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		const stock, orders = 100, 300
		key := uuid.NewString()
		for range 2 { // the ledger remembers the cause
			if err := f.store.UpdateSide(because(t.Context(), key), []string{"MUG"}, func(side map[string]*level) error {
				side["MUG"].Available += stock
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		var got, refused atomic.Int64
		for range orders {
			wg.Go(func() {
				id, taken := newOrder(), false
				err := f.store.UpdateWith(fresh(t.Context()), id, func(*basket) []string { return []string{"MUG", "unknown"} },
					func(b *basket, side map[string]*level) ([]event.Event, error) {
						if _, ok := side["unknown"]; ok {
							return nil, errors.New("an unknown SKU appeared")
						}
						if taken = side["MUG"].Available > 0; taken {
							side["MUG"].Available--
							side["MUG"].Taken++
						}
						return nil, nil
					})
				switch {
				case err != nil:
					t.Error(err)
				case taken:
					got.Add(1)
				default:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if l := f.level(t, "MUG"); got.Load() != stock || l.Available != 0 || l.Taken != stock {
			t.Errorf("%d got one, %d did not, level %+v", got.Load(), refused.Load(), l)
		}
	})
}

func TestSumsBeyondWhatANumberHoldsAreNotWrappedRound(t *testing.T) {
	w := &work[basket, level]{store: &Store[basket, level]{table: basketTable}}
	out, sums := &outcome{}, map[sumKey]int64{}
	for range 3 {
		w.sumsOf(out, sums, &row[basket]{sums: basketTable.Sums(&basket{N: math.MaxInt64})})
	}
	total := new(big.Int)
	for _, s := range out.sums {
		total.Add(total, big.NewInt(s.N))
	}
	for _, n := range sums {
		total.Add(total, big.NewInt(n))
	}
	if want := new(big.Int).Mul(big.NewInt(3), big.NewInt(math.MaxInt64)); total.Cmp(want) != 0 {
		t.Errorf("the deltas add up to %s, want %s", total, want)
	}
}

func TestAnUndeclaredEventIsRefused(t *testing.T) {
	s, m := NewMemory(basketTable, Options{Says: func(topic string) bool { return false }}, nil)
	start(t, s)
	err := s.Update(fresh(t.Context()), newOrder(), count)
	var unsayable *UnsayableError
	if !errors.As(err, &unsayable) {
		t.Fatalf("error %v, want UnsayableError", err)
	}
	if len(m.TakeOutbox()) != 0 {
		t.Error("it reached the outbox")
	}
}

func TestACallerWhoLeavesHoldsNobodyUp(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.store.Update(fresh(ctx), newOrder(), count); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if err := f.store.Update(fresh(t.Context()), newOrder(), count); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyTheLast256CommandsAreRemembered(t *testing.T) {
	s, m := NewMemory(basketTable, Options{}, nil)
	start(t, s)
	id := newOrder()
	for range maxCommands + 10 {
		ctx := event.WithCause(t.Context(), event.Cause{ID: uuid.NewString(), Command: true})
		if err := s.Update(ctx, id, count); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.rows[id].commands); n != maxCommands {
		t.Errorf("%d commands remembered, want %d", n, maxCommands)
	}
}

// What a service declares beside its changes runs for a message as well, and may panic over it.
func TestAPanicOverTheKeysIsItsCallersAlone(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		err := f.store.UpdateWith(fresh(t.Context()), newOrder(), func(*basket) []string { panic("boom") },
			func(*basket, map[string]*level) ([]event.Event, error) { return nil, nil })
		if p := (*PanicError)(nil); !errors.As(err, &p) {
			t.Errorf("error %v, want a PanicError", err)
		}
		must(t, f.store.Update(fresh(t.Context()), newOrder(), count))
	})
}
