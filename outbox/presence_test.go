package outbox

import (
	"context"
	"testing"
	"time"

	"millrace/event"
)

// A process that is killed leaves claims behind whose own lease lasts half a minute. Nobody
// should have to wait for that.
func TestWhatAKilledExecutorHadClaimedIsTakenOverAtOnce(t *testing.T) {
	f := newEffects(t)
	hung := make(chan struct{})
	killed := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		f.called(b.ID, step, attempt)
		close(hung)
		<-ctx.Done() // it never answers; its process is dead
		return nil, ctx.Err()
	}, ExecutorOptions[basket]{})
	killed.drain = time.Millisecond
	f.store.StartEffects(killed)
	stop := runExecutor(t, killed)
	eventually(t, func() bool { return places(killed) > 0 })
	id := f.place(t, "charge")
	<-hung
	// What kill -9 leaves: a claim that ends in half a minute, and a presence that ends in seconds.
	var holder string
	need(t, f.db.QueryRow("SELECT holder FROM millrace.waits").Scan(&holder))
	if holder != killed.Holder() {
		t.Fatalf("claimed by %s, want the executor's %s", holder, killed.Holder())
	}
	stop()
	_, err := f.db.Exec("UPDATE millrace.waits SET due_at = now() + interval '30 s', holder = $1", killed.Holder())
	need(t, err)
	_, err = f.db.Exec("UPDATE millrace.leases SET until = now() + interval '100 ms' WHERE name = $1", killed.presence.name())
	need(t, err)

	next := f.executor(f.answer, ExecutorOptions[basket]{})
	next.presence.ttl = 300 * time.Millisecond
	begin := time.Now()
	runExecutor(t, next)
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if took := time.Since(begin); took > claimLease/2 {
		t.Errorf("taken over after %s: the claim's own lease had to end", took)
	}
	if n := f.row(t, id).N; n != 1 {
		t.Errorf("answered %d times, want once", n)
	}
	if got := f.attempts(); len(got) != 2 || got[1] < 2 {
		t.Errorf("attempts %v, want the second to count on from the first", got)
	}
}

func TestTheClaimsOfTheLivingAreLeftToThem(t *testing.T) {
	f := newEffects(t)
	release := make(chan struct{})
	busy := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		f.called(b.ID, step, attempt)
		if event.CauseFrom(ctx).CorrelationID != "corr" {
			t.Errorf("the call's context carries correlation id %q, want the order's", event.CauseFrom(ctx).CorrelationID)
		}
		<-release
		return done(step), nil
	}, ExecutorOptions[basket]{})
	f.store.StartEffects(busy)
	runExecutor(t, busy)
	eventually(t, func() bool { return places(busy) > 0 })
	f.place(t, "charge")
	eventually(t, func() bool { return len(f.attempts()) == 1 })
	other := f.executor(f.answer, ExecutorOptions[basket]{})
	for range 3 {
		freed, err := other.presence.beat(t.Context())
		need(t, err)
		if freed != 0 {
			t.Errorf("%d claims of a living executor were freed", freed)
		}
	}
	close(release)
	eventually(t, func() bool { return f.waiting(t) == 0 })
}

// An executor that stops puts off what it leaves. What it could not put off is freed all the same.
func TestWhatAStoppedExecutorHadClaimedIsTakenOverAtOnce(t *testing.T) {
	f := newEffects(t)
	stopped := f.executor(f.answer, ExecutorOptions[basket]{})
	_, err := stopped.presence.beat(t.Context())
	need(t, err)
	f.place(t, "charge")
	_, err = f.db.Exec("UPDATE millrace.waits SET due_at = now() + interval '30 s', attempt = 1, holder = $1", stopped.Holder())
	need(t, err)
	need(t, stopped.presence.end(t.Context()))
	runExecutor(t, f.executor(f.answer, ExecutorOptions[basket]{}))
	begin := time.Now()
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if took := time.Since(begin); took > claimLease/2 {
		t.Errorf("taken over after %s: the claim's own lease had to end", took)
	}
}
