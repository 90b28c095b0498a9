package story_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/outbox"
)

// interleavingNode is one service on its memory store, with what an executor of
// its effects would need. Effects are played here, because when a call is made, and when
// its answer comes, is part of the interleaving.
type interleavingNode[S, V any] struct {
	name    string
	store   *outbox.Store[S, V]
	rows    *outbox.Memory
	waits   func(*S) []event.Wait
	perform outbox.Perform[S]
}

func (n *interleavingNode[S, V]) service() string        { return n.name }
func (n *interleavingNode[S, V]) memory() *outbox.Memory { return n.rows }

// row is the committed row; the zero row of a service that has not heard of the order.
func (n *interleavingNode[S, V]) row(id event.OrderID) (S, bool) {
	row, ok, err := n.store.Load(context.Background(), id)
	if err != nil {
		panic(fmt.Sprintf("%s: load %s: %v", n.name, id, err))
	}
	return row, ok
}

// snapshot is all that a change could have changed of one order.
func (n *interleavingNode[S, V]) snapshot(id event.OrderID) string {
	row, ok := n.row(id)
	state, err := json.Marshal(row)
	if err != nil {
		panic(err)
	}
	return fmt.Sprint(ok, string(state), n.rows.Waits(), n.rows.History(id), len(n.rows.Sums()))
}

func (n *interleavingNode[S, V]) run(ctx context.Context) error { return n.store.Run(ctx) }

// interleavingService is an interleavingNode whatever its row.
type interleavingService interface {
	service() string
	memory() *outbox.Memory
	snapshot(id event.OrderID) string
	run(ctx context.Context) error
	claim(wait outbox.MemoryWait, attempt int) *interleavingCall
}

// interleavingCall is one attempt at an effect: claimed with the row as it was
// then, made later, answered later still. Anything may happen in between.
type interleavingCall struct {
	service string
	wait    outbox.MemoryWait
	attempt int
	made    bool
	make    func() error
	// answer tells whether the row was still waiting for it.
	answer func() (wanted bool, err error)
}

func (n *interleavingNode[S, V]) claim(wait outbox.MemoryWait, attempt int) *interleavingCall {
	row, ok := n.row(wait.OrderID)
	if !ok || !n.waitsFor(&row, wait.Step) {
		panic(fmt.Sprintf("%s: order %s: the store keeps the wait %q, the row does not", n.name, wait.OrderID, wait.Step))
	}
	call := &interleavingCall{service: n.name, wait: wait, attempt: attempt}
	var change func(*S) ([]event.Event, error)
	call.make = func() (err error) {
		change, err = n.perform(context.Background(), row, wait.Step, attempt)
		if err == nil && change == nil {
			return fmt.Errorf("%s: step %q: neither an answer nor an error", n.name, wait.Step)
		}
		return err
	}
	call.answer = func() (wanted bool, err error) {
		ctx := event.WithCause(context.Background(), event.Cause{
			ID: interleavingID(wait.OrderID, n.name, wait.Step, attempt), Time: time.Now(),
		})
		err = n.store.UpdateExisting(ctx, wait.OrderID, func(row *S) ([]event.Event, error) {
			if wanted = n.waitsFor(row, wait.Step); !wanted {
				return nil, nil
			}
			return change(row)
		})
		return wanted, err
	}
	return call
}

func (n *interleavingNode[S, V]) waitsFor(row *S, step string) bool {
	return slices.ContainsFunc(n.waits(row), func(w event.Wait) bool { return w.Step == step })
}

// interleavingRetry is when a call without an answer is made again, unless its error knows better.
const interleavingRetry = time.Second

func interleavingPause(err error) time.Duration {
	var wish interface{ RetryAfter() time.Duration }
	if errors.As(err, &wish) {
		return wish.RetryAfter()
	}
	return interleavingRetry
}

// interleavingID is an id that is the same each time a run is repeated.
func interleavingID(parts ...any) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(fmt.Sprint(parts...))).String()
}
