package transporttest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Each group gets every message.
func groups(t *testing.T, f Fixture) {
	const keys, n = 10, 10
	w := open(t, f)
	w.publish(keys, n)
	one, two := newLedger(), newLedger()
	w.member(one.handle)
	other := *w
	other.group += "-other"
	other.member(two.handle)
	for _, l := range []*ledger{one, two} {
		eventually(t, "all messages in both groups", func() bool { return l.finished() == keys*n })
		l.checkOrder(t, keys, n)
	}
}

// Who comes back goes on where it was: nothing is lost, and after an orderly
// Close nothing of what was finished without a gap comes again.
func restart(t *testing.T, f Fixture) {
	const keys, n, rounds = 20, 25, 4
	w := open(t, f)
	l := newLedger()
	for i := range rounds {
		m := w.member(l.handle)
		if i == 0 {
			w.publish(keys, n)
		}
		eventually(t, "its share of the messages", func() bool { return l.finished() >= keys*n*(i+1)/rounds })
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if l.finished() != keys*n {
		t.Errorf("%d of %d messages arrived", l.finished(), keys*n)
	}
	l.checkOrder(t, keys, n)
	after := newLedger()
	w.member(after.handle)
	w.publishPart(1, n, 1)
	eventually(t, "the next message", func() bool { return after.saw(key(0), n) })
	if again := after.delivered() - 1; f.PerKey && again > 0 {
		t.Errorf("%d finished messages came again, though nobody crashed", again)
	}
}

// Members come and go while messages flow: nothing is lost, and each key's first
// deliveries stay in order.
func rebalance(t *testing.T, f Fixture) {
	const keys, n, parts = 60, 10, 4
	w := open(t, f)
	one, two := newLedger(), newLedger()
	all := newLedger()
	at := func(own *ledger) func(msg *message.Message) bool {
		return func(msg *message.Message) bool {
			key := all.begin(msg)
			own.handle(msg)
			return all.end(msg, key, true)
		}
	}
	first := w.member(at(one))
	w.publishPart(keys, 0, n)
	eventually(t, "messages at the first member", func() bool { return one.finished() == keys*n })

	second := w.member(at(two))
	sent := 1
	eventually(t, "messages at the second member", func() bool {
		w.publishPart(keys, sent*n, n) // until the second has its part
		sent++
		return two.finished() > 0
	})
	more := func(n int) {
		for range parts {
			w.publishPart(keys, sent*n, n)
			sent++
		}
		eventually(t, "everything", func() bool { return all.finished() == keys*n*sent })
	}
	if err := second.Close(); err != nil { // the first gets back what it had
		t.Fatal(err)
	}
	more(n)
	w.member(at(two))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	more(n)
	all.checkOrder(t, keys, n*sent)
}

// Members join and leave in quick succession while slow and refused messages are
// under way: nothing is lost and each key's first deliveries stay in order.
func churn(t *testing.T, f Fixture) {
	if !f.PerKey {
		return // each of its rebalances takes seconds
	}
	const keys, n, rounds = 40, 10, 8
	w := open(t, f)
	all := newLedger()
	handle := func(msg *message.Message) bool {
		key := all.begin(msg)
		if rand.IntN(20) == 0 {
			<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond)
		}
		return all.end(msg, key, rand.IntN(20) > 0)
	}
	var members []*member
	for round := range rounds {
		members = append(members, w.member(handle))
		w.publishPart(keys, round*n, n)
		eventually(t, "some progress", func() bool { return all.finished() >= keys*n*round/2 })
		if len(members) > 2 {
			leaving := rand.IntN(len(members))
			if err := members[leaving].Close(); err != nil {
				t.Error(err)
			}
			members = slices.Delete(members, leaving, leaving+1)
		}
	}
	eventually(t, "everything", func() bool { return all.finished() == keys*n*rounds })
	all.checkOrder(t, keys, n*rounds)
}

// A member that dies without a word is replaced; what it had not finished, the
// others get.
func kill(t *testing.T, f Fixture) {
	if f.Kill == nil {
		return
	}
	const keys, n = 30, 10
	w := open(t, f)
	all := newLedger()
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	var once sync.Once
	reached := make(chan struct{})
	victim := w.member(func(msg *message.Message) bool {
		key := all.begin(msg)
		if key == "key-003" || key == "key-004" { // taken up, never finished
			once.Do(func() { close(reached) })
			<-stuck
			return all.end(msg, key, false)
		}
		return all.end(msg, key, true)
	})
	w.publish(keys, n)
	within(t, "the victim's first messages", reached)
	f.Kill(victim.Subscriber)
	w.member(all.handle)
	eventually(t, "everything, at the survivor", func() bool { return all.finished() == keys*n })
	all.checkOrder(t, keys, n)
}

// Close waits for the handler that runs, lets it work to its end, and commits it.
func closeWhileHandling(t *testing.T, f Fixture) {
	w := open(t, f)
	var mu sync.Mutex
	handled := 0
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m := w.member(func(msg *message.Message) bool {
		once.Do(func() { close(started) })
		<-release
		if f.PerKey && msg.Context().Err() != nil {
			t.Error("the handler's context ended while Close waited for it")
		}
		mu.Lock()
		defer mu.Unlock()
		handled++
		return true
	})
	w.publish(1, 1)
	within(t, "the handler's start", started)
	closed := make(chan error, 3)
	for range 3 { // a Router closes a subscriber once for each of its handlers
		go func() { closed <- m.Close() }()
	}
	if f.PerKey {
		select {
		case err := <-closed:
			t.Errorf("Close did not wait for the handler: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	close(release)
	for range 3 {
		if err := within(t, "the end of Close", closed); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Subscribe(t.Context(), w.topic); err == nil {
		t.Error("a closed subscriber takes a subscription")
	}
	if !f.PerKey {
		return
	}
	l := newLedger()
	w.member(l.handle)
	w.publishPart(1, 1, 1)
	eventually(t, "the next message", func() bool { return l.saw(key(0), 1) })
	if n := l.delivered(); n != 1 {
		t.Errorf("what was handled during Close came again")
	}
}

// A handler that never ends holds up neither Close nor, for longer than its
// time, the message: somebody else gets it.
func closeIsBounded(t *testing.T, f Fixture) {
	w := open(t, f)
	started := make(chan context.Context, 1)
	m := w.member(func(msg *message.Message) bool {
		started <- msg.Context()
		<-msg.Context().Done()
		return false
	})
	w.publish(1, 1)
	ctx := within(t, "the handler's start", started)
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	if err := within(t, "the end of Close", closed); err != nil {
		t.Error(err)
	}
	within(t, "the end of the handler's context", ctx.Done())
	l := newLedger()
	w.member(l.handle)
	eventually(t, "the message, elsewhere", func() bool { return l.finished() == 1 })
}

// A handler that hangs, or a message refused again and again, does not keep its
// partition from a new member.
func revokeIsBounded(t *testing.T, f Fixture) {
	const keys = 30
	w := open(t, f)
	one, two := newLedger(), newLedger()
	hung := make(chan struct{})
	t.Cleanup(func() { close(hung) })
	w.member(func(msg *message.Message) bool {
		key := one.begin(msg)
		if key == "key-001" {
			<-hung
		}
		return one.end(msg, key, false) // refuses everything
	})
	w.publish(keys, 1)
	eventually(t, "messages at the first member", func() bool { return one.delivered() > 0 })
	w.member(two.handle)
	eventually(t, "messages at the second member", func() bool { return two.finished() > 0 })
}

// The backlog counts what is unfinished and knows the oldest of it.
func backlog(t *testing.T, f Fixture) {
	const keys, n = 10, 3
	w := open(t, f)
	check := func(what string, messages int64) {
		t.Helper()
		var oldest time.Time
		eventually(t, what, func() bool {
			b, err := w.Backlog(t.Context(), w.group, w.topic)
			if err != nil {
				t.Fatal(err)
			}
			oldest = b.Oldest
			return b.Messages == messages
		})
		if oldest.IsZero() != (messages == 0) || oldest.After(time.Now().Add(time.Minute)) ||
			!oldest.IsZero() && oldest.Before(time.Now().Add(-time.Minute)) {
			t.Errorf("%s: the oldest is of %s", what, oldest)
		}
	}
	check("nothing before the first message", 0)
	w.publish(keys, n)
	check("everything, for a group that was never here", keys*n)
	release := make(chan struct{})
	l := newLedger()
	w.member(func(msg *message.Message) bool {
		if string(msg.Payload) == "0" {
			<-release
		}
		return l.handle(msg)
	})
	eventually(t, "the handlers", func() bool {
		b, err := w.Backlog(t.Context(), w.group, w.topic)
		return err == nil && b.Messages == keys*n
	})
	close(release)
	eventually(t, "all messages", func() bool { return l.finished() == keys*n })
	check("nothing when all is done", 0)
}
