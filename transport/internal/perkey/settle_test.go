package perkey_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

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
