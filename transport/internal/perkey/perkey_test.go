package perkey_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// value is a record.
type value string

func (v value) Message() *message.Message { return message.NewMessage(string(v), []byte(v)) }

const drain = 5 * time.Second

// push adds a record whose value is its offset.
func push(p *perkey.Partition, offset int64, key string) {
	p.Push(transport.Delivery{Offset: offset, Key: []byte(key)}, value(strconv.FormatInt(offset, 10)))
}

func noRoom() {}

// open makes a partition and subscribes to its topic.
func open(t *testing.T, ctx context.Context, full int, room func()) (*perkey.Subscriptions, *perkey.Partition, <-chan *message.Message) {
	t.Helper()
	subs := perkey.NewSubscriptions(drain, perkey.DefaultBackoff)
	messages, err := subs.Subscribe(ctx, "topic")
	if err != nil {
		t.Fatal(err)
	}
	return subs, subs.Partition("topic", full, room), messages
}

// end closes everything.
func end(subs *perkey.Subscriptions, p *perkey.Partition) {
	p.Stop()
	p.Drain(context.Background())
	subs.Close()
}

// now receives what is there, if anything is, when all goroutines are at rest.
func now(messages <-chan *message.Message) *message.Message {
	synctest.Wait()
	select {
	case msg := <-messages:
		return msg
	default:
		return nil
	}
}

// Whatever keys come and however they are answered: each key's records are
// delivered in order, one at a time, and Done never passes an unfinished one.
func TestKeysKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		keys := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 60).Draw(r, "keys") // 0: no key
		nacks := rapid.IntRange(0, 3).Draw(r, "nacks of ten")
		seed := rapid.Uint64().Draw(r, "seed")
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, seed))
		busy := map[int]bool{}
		last := map[int]int{}
		finished := make([]bool, len(keys))
		left := len(keys)
		done := make(chan struct{})

		subs := perkey.NewSubscriptions(drain, 1)
		messages, err := subs.Subscribe(t.Context(), "topic")
		if err != nil {
			r.Fatal(err)
		}
		p := subs.Partition("topic", rapid.IntRange(1, 50).Draw(r, "limit"), noRoom)
		go func() {
			for msg := range messages {
				go func() {
					offset, _ := strconv.Atoi(msg.UUID)
					key := keys[offset]
					mu.Lock()
					if key != 0 {
						if busy[key] {
							r.Errorf("two records of key %d at once", key)
						}
						if offset < last[key] {
							r.Errorf("key %d: %d after %d", key, offset, last[key])
						}
						busy[key], last[key] = true, offset
					}
					nack := random.IntN(10) < nacks
					if upTo := p.Done(); upTo > int64(offset) {
						r.Errorf("done up to %d while %d is at work", upTo, offset)
					}
					busy[key] = false
					if !nack {
						finished[offset] = true
						if left--; left == 0 {
							close(done)
						}
					}
					mu.Unlock()
					if nack {
						msg.Nack()
					} else {
						msg.Ack()
					}
				}()
			}
		}()
		for offset, key := range keys {
			name := ""
			if key != 0 {
				name = fmt.Sprint(key)
			}
			push(p, int64(offset), name)
		}
		<-done
		p.Stop()
		p.Drain(t.Context())
		if got := p.Done(); got != int64(len(keys)) {
			r.Errorf("done up to %d of %d", got, len(keys))
		}
		subs.Close()
	})
}

// Records of other keys go on while one waits; Done stays before it.
func TestDoneStopsAtTheLowestUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		push(p, 5, "a")
		push(p, 6, "b")
		push(p, 7, "a") // behind 5
		p.Skip(8)
		byID := map[string]*message.Message{}
		for range 2 {
			msg := now(messages)
			byID[msg.UUID] = msg
		}
		if msg := now(messages); msg != nil {
			t.Fatalf("%s was delivered beside its predecessor", msg.UUID)
		}
		byID["6"].Ack()
		synctest.Wait()
		if got := p.Done(); got != perkey.NothingDone {
			t.Errorf("done up to %d while 5 is at work", got)
		}
		byID["5"].Ack()
		last := now(messages)
		if got := p.Done(); got != 7 {
			t.Errorf("done up to %d, want 7", got)
		}
		last.Ack()
		synctest.Wait()
		if got := p.Done(); got != 9 {
			t.Errorf("done up to %d, want 9: a skipped offset needs no answer", got)
		}
		end(subs, p)
	})
}

// A Nack brings the message again after 0.1 s, then 0.2 s … up to 1.6 s.
func TestBackoffDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		push(p, 0, "a")
		msg := <-messages
		for attempt, most := range []int{100, 200, 400, 800, 1600, 1600} {
			start := time.Now()
			msg.Nack()
			msg = <-messages
			waited, limit := time.Since(start), time.Duration(most)*time.Millisecond
			if waited > limit || waited < limit*4/5 {
				t.Errorf("attempt %d came after %s, want %s less a fifth at most", attempt+2, waited, limit)
			}
			if d, _ := transport.DeliveryFrom(msg.Context()); d.Attempt != attempt+2 {
				t.Errorf("attempt %d, want %d", d.Attempt, attempt+2)
			}
		}
		msg.Ack()
		synctest.Wait()
		if _, redelivered := p.Counts(); redelivered != 6 {
			t.Errorf("%d redeliveries were counted", redelivered)
		}
		end(subs, p)
	})
}

// Stop ends a back-off at once; a running handler may finish, and counts.
func TestStopLetsHandlersFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		push(p, 0, "a")
		running := now(messages)
		push(p, 1, "a") // must not be delivered any more
		push(p, 2, "b")
		now(messages).Nack() // waits for its second attempt
		synctest.Wait()
		start := time.Now()
		p.Stop()
		push(p, 3, "c") // too late
		go func() {
			<-time.After(time.Second)
			if err := running.Context().Err(); err != nil {
				t.Errorf("the running handler's context: %v", err)
			}
			running.Ack()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), drain)
		defer cancel()
		p.Drain(ctx)
		if took := time.Since(start); took != time.Second {
			t.Errorf("draining took %s, want as long as the handler", took)
		}
		if got := p.Done(); got != 1 {
			t.Errorf("done up to %d, want 1", got)
		}
		if msg := now(messages); msg != nil {
			t.Errorf("%s was delivered after Stop", msg.UUID)
		}
		subs.Close()
	})
}

// A handler that does not end loses its context when its time is over, and its
// late Ack counts for nothing.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		push(p, 0, "a")
		running := now(messages)
		p.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), drain)
		defer cancel()
		start := time.Now()
		p.Drain(ctx)
		if took := time.Since(start); took != drain {
			t.Errorf("draining took %s, want %s", took, drain)
		}
		if running.Context().Err() == nil {
			t.Error("the handler's context goes on")
		}
		running.Ack()
		synctest.Wait()
		if got := p.Done(); got != perkey.NothingDone {
			t.Errorf("a late Ack counted: done up to %d", got)
		}
		subs.Close()
	})
}

// At most limit records are at work, finished ones behind an unfinished one
// included. Full asks to pause when as many wait, and there is room at half of it.
func TestFullAndRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 4
		rooms := 0
		subs, p, messages := open(t, t.Context(), limit, func() { rooms++ })
		for offset := range int64(2 * limit) {
			if p.Full() {
				t.Fatalf("full at %d", offset)
			}
			push(p, offset, "key"+strconv.FormatInt(offset, 10))
		}
		if !p.Full() {
			t.Fatal("not full with as many waiting as at work")
		}
		first := take(t, messages, limit)
		if msg := now(messages); msg != nil {
			t.Errorf("%s was started beyond the limit", msg.UUID)
		}
		for id, msg := range first {
			if id != "0" {
				msg.Ack()
			}
		}
		if msg := now(messages); msg != nil || rooms > 0 || !p.Full() {
			t.Error("the oldest record is unfinished, and yet there is room")
		}
		first["0"].Ack()
		second := take(t, messages, limit)
		if rooms != 1 || p.Full() {
			t.Errorf("room was called %d times, want once", rooms)
		}
		for _, msg := range second {
			msg.Ack()
		}
		synctest.Wait()
		if got := p.Done(); got != 2*limit {
			t.Errorf("done up to %d, want %d", got, 2*limit)
		}
		end(subs, p)
	})
}

// take receives n messages.
func take(t *testing.T, messages <-chan *message.Message, n int) map[string]*message.Message {
	t.Helper()
	taken := map[string]*message.Message{}
	for range n {
		msg := now(messages)
		if msg == nil {
			t.Fatalf("%d messages, want %d", len(taken), n)
		}
		taken[msg.UUID] = msg
	}
	return taken
}

// When a subscription's context ends its handlers may finish, then its channel
// closes; what is left goes to the next subscription.
func TestASubscriptionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
		subs, p, messages := open(t, ctx, 10, noRoom)
		push(p, 0, "a")
		push(p, 1, "a")
		running := now(messages)
		if running.Context().Value(ctxKey{}) != "value" {
			t.Error("the message's context lacks the subscription's values")
		}
		if _, err := subs.Subscribe(t.Context(), "topic"); err == nil {
			t.Error("a second subscription to one topic")
		}
		cancel()
		synctest.Wait()
		if running.Context().Err() != nil {
			t.Error("the running handler lost its context with the subscription's")
		}
		running.Ack()
		if _, open := <-messages; open {
			t.Error("a message after the end")
		}
		next, err := subs.Subscribe(t.Context(), "topic")
		if err != nil {
			t.Fatal(err)
		}
		msg := <-next
		if msg.UUID != "1" {
			t.Errorf("%s, want 1", msg.UUID)
		}
		msg.Ack()
		synctest.Wait()
		end(subs, p)
		if _, err := subs.Subscribe(t.Context(), "topic"); err == nil {
			t.Error("a subscription after Close")
		}
	})
}

type ctxKey struct{}

func BenchmarkPartition(b *testing.B) {
	b.ReportAllocs()
	subs := perkey.NewSubscriptions(drain, perkey.DefaultBackoff)
	messages, _ := subs.Subscribe(b.Context(), "topic")
	room := make(chan struct{}, 1)
	p := subs.Partition("topic", 1000, func() { room <- struct{}{} })
	go func() {
		for msg := range messages {
			go msg.Ack()
		}
	}()
	keys := make([]string, 500)
	for i := range keys {
		keys[i] = fmt.Sprint("0199c0de-0000-7000-8000-", i)
	}
	for i := range b.N {
		push(p, int64(i), keys[i%len(keys)])
		if p.Full() {
			<-room
		}
	}
	for p.Done() != int64(b.N) {
	}
	b.StopTimer()
	end(subs, p)
}
