package perkey_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

// Who was told to expect Settle hears it, and does not hear Ack; the first answer counts.
func TestSettleAnswersInsteadOfAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		subs.ExpectSettle()
		push(p, 0, "a")
		push(p, 1, "a")
		first := now(messages)
		first.Ack()
		if msg := now(messages); msg != nil || p.Done() != perkey.NothingDone {
			t.Fatalf("an Ack was heard: %v, done up to %d", msg, p.Done())
		}
		transport.Settle(first.Context(), false)
		transport.Settle(first.Context(), true) // too late
		if first.Context().Err() == nil {
			t.Error("the message's context goes on after the answer")
		}
		again := <-messages
		if d, _ := transport.DeliveryFrom(again.Context()); d.Attempt != 2 || d.Offset != 0 {
			t.Errorf("%+v came, want the second attempt of the first record", d)
		}
		transport.Settle(first.Context(), true) // of an attempt that is over
		if p.Done() != perkey.NothingDone {
			t.Error("an answer to the first attempt counted for the second")
		}
		transport.Settle(again.Context(), true)
		transport.Settle(now(messages).Context(), true)
		if got := p.Done(); got != 2 {
			t.Errorf("done up to %d, want 2", got)
		}
		end(subs, p)
	})
}

// Messages share a deadline, which comes at most an eighth late, and which ends early
// when they are taken away but not when they are settled.
func TestTimeoutsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 8 * time.Second
		subs, p, messages := open(t, t.Context(), 10, noRoom)
		subs.ExpectSettle()
		var tries []context.Context
		for i := range int64(4) {
			push(p, i, fmt.Sprint(i))
			msg := now(messages)
			ctx, cancel := transport.WithTimeout(context.WithValue(msg.Context(), ctxKey{}, i), limit)
			defer cancel()
			if ctx.Value(ctxKey{}) != i {
				t.Error("the values are lost")
			}
			tries = append(tries, ctx)
			if i == 1 {
				transport.Settle(msg.Context(), true)
			}
			<-time.After(600 * time.Millisecond)
		}
		if tries[0].Done() != tries[1].Done() || tries[1].Done() == tries[2].Done() {
			t.Error("who began within an eighth of the limit shares a timer, nobody else")
		}
		if err := tries[1].Err(); err != nil {
			t.Errorf("a settled message ended a shared context: %v", err)
		}
		start := time.Now().Add(-4 * 600 * time.Millisecond)
		<-tries[0].Done()
		if took := time.Since(start); took < limit || took > limit+limit/8 || tries[0].Err() != context.DeadlineExceeded {
			t.Errorf("%v after %s, want the deadline after %s", tries[0].Err(), took, limit)
		}
		if err := tries[2].Err(); err != nil {
			t.Errorf("the next slot ended with the first: %v", err)
		}
		p.Stop()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		p.Drain(over)
		if err := tries[3].Err(); err != context.Canceled {
			t.Errorf("%v after the partition went, want Canceled", err)
		}
		subs.Close()
	})
}

// A member has a bounded number of messages in hand, over all its partitions; each
// answer makes room for the next, and what is left goes on when a topic's listener changes.
func TestMessagesInHandAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound, more = 1000, 5
		subs, p, messages := open(t, t.Context(), 2*bound, noRoom)
		q := subs.Partition("topic", 2*bound, noRoom)
		for i := range int64(bound/2 + more) {
			push(p, i, fmt.Sprint(i))
			push(q, i, fmt.Sprint(i))
		}
		var inHand []*message.Message
		for msg := now(messages); msg != nil; msg = now(messages) {
			inHand = append(inHand, msg)
		}
		if len(inHand) != bound {
			t.Fatalf("%d messages in hand, want %d", len(inHand), bound)
		}
		for range 2 * more {
			inHand[0].Ack()
			inHand = inHand[1:]
			next := now(messages)
			if next == nil {
				t.Fatal("an answer made no room")
			}
			if now(messages) != nil {
				t.Fatal("one answer made room for two")
			}
			inHand = append(inHand, next)
		}
		for _, msg := range inHand {
			msg.Ack()
		}
		synctest.Wait()
		if p.Done() != bound/2+more || q.Done() != bound/2+more {
			t.Errorf("done up to %d and %d, want %d", p.Done(), q.Done(), bound/2+more)
		}
		end(subs, p)
		end(subs, q)
	})
}

// What is ready outlives its listener, and so does what that one did not finish in its
// time: the next listener gets all of it at once.
func TestWhatIsReadyOutlivesItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		subs, p, messages := open(t, ctx, 10, noRoom)
		for i := range int64(4) {
			push(p, i, fmt.Sprint(i))
		}
		now(messages).Ack()
		now(messages).Nack() // its back-off need not end
		synctest.Wait()
		hangs := now(messages) // for longer than it may
		synctest.Wait()        // the next one is offered
		cancel()
		synctest.Wait()
		for range messages {
			t.Error("a message after the end")
		}
		if hangs.Context().Err() == nil {
			t.Error("the context of a handler that hangs goes on")
		}
		hangs.Ack() // too late
		start := time.Now()
		next, err := subs.Subscribe(t.Context(), "topic")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 3 {
			msg := <-next
			got = append(got, msg.UUID)
			msg.Ack()
		}
		if want := []string{"3", "1", "2"}; !slices.Equal(got, want) || !time.Now().Equal(start) {
			t.Errorf("%v after %s, want %v at once", got, time.Since(start), want)
		}
		synctest.Wait()
		end(subs, p)
	})
}

// A back-off ends with the listener that asked for it: a successor need not wait.
func TestABackoffEndsWithItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		subs, p, messages := open(t, ctx, 10, noRoom)
		push(p, 0, "a")
		start := time.Now()
		now(messages).Nack()
		synctest.Wait()
		cancel()
		next, err := subs.Subscribe(t.Context(), "topic")
		if err != nil {
			t.Fatal(err)
		}
		(<-next).Ack()
		if took := time.Since(start); took > 0 {
			t.Errorf("the next listener waited %s", took)
		}
		synctest.Wait()
		end(subs, p)
	})
}
