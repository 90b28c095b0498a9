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

// Deadlines give back what lags took, and so an order may be older; calls are to be made in time nevertheless.
func TestDeadlinesGiveBackWhatLagsTook(t *testing.T) {
	const took = 600 * second
	for _, c := range []struct {
		step string
		lags int64
		want []string
	}{
		{stepDeadline, took, nil},
		{stepDeadline, took - 1, []string{i6}},
		{"overdue", took, []string{i6}},
	} {
		w := newWorld()
		w.look.lags[orders] = c.lags
		w.begun.Waits[0].Step, w.begun.row(orders).Waiting = c.step, []string{c.step}
		w.begun.Waits[0].Due = now - w.look.patience - took
		w.begun.row(orders).Created = w.begun.Waits[0].Due
		if f := w.check(); !slices.Equal(violated(f), c.want) {
			t.Errorf("%q, due for %d s more than there is patience, lags of %d: %v\n%s", c.step, took/second, c.lags, violated(f), f.text())
		}
	}
}

func TestAnOrderMayBeOlderByWhatLagsTook(t *testing.T) {
	const took = 600 * second
	for lags, want := range map[int64]int64{took: 0, took - 1: 1} {
		l := newWorld().look
		l.lags[orders] = lags
		o := &order{ID: anyID(), Waits: []wait{{orders, stepDeadline, 0, now + second}}}
		o.Rows[orders] = &row{Service: orders, Created: now - l.patience - took, Waiting: []string{stepDeadline}, Order: &orderState{Status: statusAwaiting}}
		f := newFindings(1)
		checkEndings(o, &l, f)
		if got := f.of(i6).violations; got != want {
			t.Errorf("older by %d s than there is patience, lags of %d: %d violations, want %d\n%s", took/second, lags, got, want, f.text())
		}
	}
}

// What waited behind a letter goes on by itself when the letter is settled: for a while that is a reason, and then a standstill.
func TestWhatMayGoOnBehindALetter(t *testing.T) {
	for ago, want := range map[int64][]string{0: nil, DefaultPatience.Microseconds() + second: {i6}} {
		w := newWorld()
		s := w.parked
		s.Letters[0].Status = letterDropped // as it came, of nobody knows whose
		s.Letters[0].Ordered, s.Letters[0].Lane = false, s.Letters[0].ID
		s.row(payments).Processed = append(s.row(payments).Processed, s.Letters[0].Message)
		s.Lanes[0].Due = now - ago
		f := w.check()
		if got := violated(f); !slices.Equal(got, want) {
			t.Errorf("for %d s: violated %v, want %v\n%s", ago/second, got, want, f.text())
		}
		if ago == 0 && (len(f.list) != 1 || f.list[0].Reasons[0] != "payment goes on with what waited behind a letter") {
			t.Errorf("listed: %+v", f.list)
		}
		if ago > 0 && f.of(i6).passing != 1 {
			t.Errorf("%d may pass, want it to", f.of(i6).passing)
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
	s.Letters = []letter{{Service: shipping, Ordered: true, Message: anyID(), Status: letterDropped, Topic: "t"}, {Service: notification, Message: anyID(), Status: letterDropped}}
	s.row(shipping).Processed = []id{s.Letters[0].Message}
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
