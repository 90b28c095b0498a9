package verify

import (
	"slices"
	"strings"
	"testing"
)

// What is on its way is a reason while it is young. When it is older than there is patience for, we stand still, and that is none;
// not even for an order that has another one.
func TestOurOwnStandstillIsNoReason(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world, since int64)
		says string
	}{
		"a call is not made": {func(w *world, since int64) {
			w.begun.waits(payments, "void")
			w.begun.Waits[1].Due = since
		}, `payment has had to do "void" (1 calls so far), and does not`},
		"a notice is not sent": {func(w *world, since int64) {
			w.paid.waits(notification, "paid/sms")
			w.paid.Waits[0].Due = since
		}, `notification has had to do "paid/sms" (1 calls so far), and does not`},
		"a deadline does not fire": {func(w *world, since int64) {
			w.parked.Waits[0].Due = since
		}, `order has had to do "overdue" (1 calls so far), and does not`},
		"an event is not published": {func(w *world, since int64) {
			r := *w.begun.event(orderCreated)
			r.Row, r.Offset, r.Stamp = 4, 0, since
			w.begun.Log, w.begun.Unsent = nil, []record{r}
		}, "it has waited in the outbox to be published [outbox row 4 (ecommerce.orders.created)]"},
		"a letter's copy is not published": {func(w *world, since int64) {
			c := &w.parked.Copies[0]
			c.Row, c.Stamp = 5, since
		}, "it has waited in the outbox to be published [outbox row 5 (dlq.payment-service)]"},
		"an event is not heard": {func(w *world, since int64) {
			w.begun.event(orderCreated).Stamp = since
			for _, s := range []service{notification, analytics} {
				w.begun.hears(s, w.begun.event(orderCreated))
			}
			w.begun.row(analytics).Analysed.contribute(w.sums.stored)
		}, "inventory has not heard of it what lies in the log [ecommerce.orders.created/"},
		"a customer is not told": {func(w *world, since int64) {
			r := w.paid.event(shippingStatus, parcelDelivered)
			w.paid.unhear(notification, r)
			r.Offset, r.Stamp = 5000, since
		}, "notification has not heard of it what lies in the log [ecommerce.shipping.status/"},
	} {
		for _, old := range []int64{0, 1} {
			w := newWorld()
			w.begun.row(orders).Created = now - 3600*second
			c.do(w, now-w.look.patience-old)
			f := w.check()
			if old == 0 {
				if bad := violated(f); bad != nil {
					t.Errorf("%s, young enough: %v\n%s", name, bad, f.text())
				}
				continue
			}
			if got := violated(f); !slices.Equal(got, []string{i6}) || !strings.Contains(f.text(), "for 3m0s "+c.says) || f.of(i6).violations != 1 || f.of(i6).passing != 1 {
				t.Errorf("%s: %d violations of %v\n%s", name, f.of(i6).violations, got, f.text())
			}
		}
	}
}

func TestReasonsAreNamed(t *testing.T) {
	w := newWorld()
	s := w.begun
	s.row(orders).Created = now - 3600*second
	s.waits(payments, "void")
	r := *s.event(orderCreated)
	r.Row, r.Offset = 4, 0
	s.Unsent = []record{r}
	s.Letters = []letter{{Service: shipping, Message: anyID(), Status: letterDropped, Topic: "t"}, {Service: notification, Message: anyID(), Status: letterDropped}}
	f := passes(t, w)
	if f.lists != 2 {
		t.Fatalf("%d are listed, want the parked one and this one: %+v", f.lists, f.list)
	}
	got := strings.Join(f.list[1].Reasons, "; ")
	for _, want := range []string{"inventory has yet to hear ecommerce.orders.created", `payment waits for "void" (1 calls so far)`,
		"not published yet: outbox row 4", "somebody gave up letter"} {
		if !strings.Contains(got, want) {
			t.Errorf("the reasons are %q, want %q among them", got, want)
		}
	}
}
