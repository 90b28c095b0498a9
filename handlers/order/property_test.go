package order_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/event"
)

// saga is all that an order hears in one story: what comes on each topic, in that
// topic's order, and where the shop's commands come from.
type saga struct {
	topics [][]step
	// after holds what can only happen because of something else; everything not
	// listed may be heard at any time, its own cause still on its way.
	after map[string]string
	end   string
}

// undone is for stories in which somebody gives up: what the others undo comes after.
func undone(by string, what ...string) map[string]string {
	after := map[string]string{by: "place"}
	for _, w := range what {
		after[w] = by
	}
	return after
}

var sagas = map[string]saga{
	"delivered": {end: "DELIVERED",
		topics: [][]step{{place}, {reserved}, {pending}, {succeeded}, {preparing, shipped, delivered}}},
	"out of stock": {end: "CANCELLED(OUT_OF_STOCK)",
		topics: [][]step{{place}, {rejected}}},
	"declined": {end: "CANCELLED(PAYMENT_FAILED)",
		topics: [][]step{{place}, {reserved}, {pending}, {declined}, {released}}},
	"payment expired": {end: "CANCELLED(DEADLINE)",
		topics: [][]step{{place}, {reserved}, {pending}, {expired}, {released}}},
	"refused by the carrier": {end: "CANCELLED(SHIPMENT_FAILED)",
		topics: [][]step{{place}, {reserved}, {succeeded}, {preparing, refused, stopped}, {refunded}, {released}}},
	"lost": {end: "CANCELLED(SHIPMENT_FAILED)",
		topics: [][]step{{place}, {reserved}, {succeeded}, {preparing, shipped, lost}, {refunded}}},
	"sent back": {end: "CANCELLED(SHIPMENT_FAILED)",
		topics: [][]step{{place}, {reserved}, {succeeded}, {preparing, shipped, returned}, {refunded}, {released}}},
	"lost, and the refund refused": {end: "NEEDS_ATTENTION(SHIPMENT_FAILED)",
		topics: [][]step{{place}, {reserved}, {succeeded}, {preparing, shipped, lost}, {refundFailed}}},
	"cancelled before stock was there": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "rejected", "voided", "STOPPED"),
		topics: [][]step{{place}, {cancel}, {rejected}, {voided}, {stopped}}},
	"cancelled before the money": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "voided", "STOPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {pending}, {voided}, {released}, {stopped}}},
	"cancelled while it was captured": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "captured", "refunded", "STOPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {captured}, {refunded}, {released}, {stopped}}},
	"cancelled after the money": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "refunded", "STOPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {pending}, {succeeded}, {preparing, stopped}, {refunded}, {released}}},
	"cancelled on the way": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "refunded", "SHIPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {succeeded}, {preparing, shipped, returned}, {refunded}, {released}}},
	"cancelled too late, and resolved": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "refunded", "SHIPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {succeeded}, {preparing, shipped, delivered, recallFailed, returned}, {refunded}, {released}}},
	"cancelled too late": {end: "NEEDS_ATTENTION(CUSTOMER)", after: undone("cancel", "refunded", "SHIPPED"),
		topics: [][]step{{place}, {cancel}, {reserved}, {succeeded}, {preparing, shipped, recallFailed}, {refunded}}},
	"the refund refused, and settled": {end: "CANCELLED(CUSTOMER)", after: undone("cancel", "refund failed", "refunded", "STOPPED", "released"),
		topics: [][]step{{place}, {cancel}, {reserved}, {succeeded}, {preparing, stopped}, {refundFailed}, {refunded}, {released}}},
	"deadline": {end: "CANCELLED(DEADLINE)", after: undone("deadline", "voided", "released", "STOPPED"),
		topics: [][]step{{place}, {dueDate}, {reserved}, {voided}, {released}, {stopped}}},
}

// TestHowItIsHeardDoesNotMatter plays every story in any order that keeps each
// topic's own, with messages delivered again: it ends the same way, down to the row.
func TestHowItIsHeardDoesNotMatter(t *testing.T) {
	for name, story := range sagas {
		t.Run(name, func(t *testing.T) {
			inOrder := newShop(t)
			for _, step := range flat(story) {
				must(t, inOrder, step)
			}
			want := canonical(t, inOrder)
			rapid.Check(t, func(rt *rapid.T) {
				s := newShop(rt)
				play(rt, s, story)
				o := s.order()
				if got := standing(o.Status, o.Reason); got != story.end {
					rt.Fatalf("the order ended %s, want %s", got, story.end)
				}
				if got := canonical(rt, s); got != want {
					rt.Fatalf("the row depends on what was heard first:\n got %s\nwant %s", got, want)
				}
				everyStatusWasSaid(rt, s)
			})
		})
	}
}

// play delivers a story's steps in an order of rapid's choice, each possibly again later.
func play(t *rapid.T, s *shop, story saga) {
	next := make([]int, len(story.topics))
	happened := map[string]bool{}
	type delivery struct {
		step step
		ctx  context.Context
	}
	var delivered []delivery
	for {
		var ready []int
		for i, topic := range story.topics {
			if next[i] < len(topic) {
				if needs := story.after[topic[next[i]].name]; needs == "" || happened[needs] {
					ready = append(ready, i)
				}
			}
		}
		if len(ready) == 0 {
			return
		}
		if len(delivered) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
			d := rapid.SampledFrom(delivered).Draw(t, "duplicate")
			if err := d.step.do(s, d.ctx); err != nil {
				t.Fatalf("%s again: %v", d.step.name, err)
			}
		}
		topic := rapid.SampledFrom(ready).Draw(t, "topic")
		step := story.topics[topic][next[topic]]
		next[topic]++
		happened[step.name] = true
		ctx := s.cause()
		if err := step.do(s, ctx); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if step.name != "deadline" { // the executor performs it once
			delivered = append(delivered, delivery{step, ctx})
		}
	}
}

// TestAnythingAtAll lets anything happen in any order, foreign and contradictory
// messages too: nothing breaks, and what is said is what the history says.
func TestAnythingAtAll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newShop(rt)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			step := rapid.SampledFrom(everyStep).Draw(rt, "step")
			before := s.order()
			if err := step.do(s, s.cause()); err != nil && step.name != "cancel" {
				rt.Fatalf("%s: %v", step.name, err)
			}
			after := s.order()
			if before.Reason != "" && after.Reason != before.Reason {
				rt.Fatalf("%s changed the reason from %s to %s", step.name, before.Reason, after.Reason)
			}
			if after.Stock.Reserved && after.Stock.Rejected {
				rt.Fatalf("%s: the order believes in stock both reserved and rejected", step.name)
			}
			if before.Status == event.OrderIsCancelled && after.Status != before.Status {
				rt.Fatalf("%s brought a cancelled order back", step.name)
			}
			if after.Status == event.OrderIsCancelled && before.Status == event.OrderCancelling {
				if p := after.Payment; p.Succeeded && !p.Refunded {
					rt.Fatalf("%s cancelled an order whose money is not back", step.name)
				}
			}
		}
		everyStatusWasSaid(rt, s)
	})
}

// everyStatusWasSaid demands that the statuses published are a chain from PENDING
// to where the order stands, and each command to others was said at most once.
func everyStatusWasSaid(t *rapid.T, s *shop) {
	status := event.OrderStatus("")
	count := map[string]int{}
	for _, e := range s.said {
		count[fmt.Sprintf("%T", e)]++
		switch e := e.(type) {
		case event.OrderCreated:
			status = event.OrderPending
		case event.OrderStatusUpdated:
			if e.Previous != status {
				t.Fatalf("said %s after %s, but the order was %s", e.Status, e.Previous, status)
			}
			status = e.Status
		}
	}
	if o := s.order(); o.Status != status {
		t.Fatalf("the order is %s, the last status said is %s", o.Status, status)
	}
	for _, once := range []string{"event.OrderCreated", "event.PaymentInitiated", "event.OrderCancelled"} {
		if count[once] > 1 {
			t.Fatalf("said %s %d times", once, count[once])
		}
	}
}

// flat plays the topics one after the other, commands where they stand.
func flat(story saga) []step {
	var steps []step
	for _, topic := range story.topics {
		steps = append(steps, topic...)
	}
	return steps
}

func canonical(t rapid.TB, s *shop) string {
	o := s.order()
	slices.Sort(o.Parcel)
	row, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(row)
}
