package verify

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// passes demands that nothing is found.
func passes(t *testing.T, w *world) *findings {
	t.Helper()
	f := w.check()
	if bad := violated(f); bad != nil {
		t.Errorf("violated: %v\n%s", bad, f.text())
	}
	return f
}

// What a system that goes on looks like between two steps of looking at it is no violation.
func TestASystemThatGoesOnIsNoViolation(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(w *world)
		later int64
	}{
		"an event was said after the rows were read": {func(w *world) {
			w.begun.at = now + second
			r := w.begun.saysUnheard(orderStatusUpdated, statusAwaiting, "")
			w.begun.row(orders).Said--
			r.Offset = 6000
		}, 1},
		"and its clock is a little behind": {func(w *world) {
			w.begun.at = now - 2*second
			r := w.begun.saysUnheard(orderStatusUpdated, statusAwaiting, "")
			w.begun.row(orders).Said--
			r.Offset = 6000
		}, 1},
		"an order was placed after the rows were read": {func(w *world) {
			w.begun.at = now
			w.begun.order = &order{ID: w.begun.ID, Log: slices.Clone(w.begun.Log)}
		}, 1},
		"an event is in the outbox": {func(w *world) {
			r := w.begun.Log[0]
			r.Row = 3
			w.begun.Log, w.begun.Unsent = nil, []record{r}
		}, 0},
		"an event is in the outbox and in the log": {func(w *world) {
			r := w.begun.Log[0]
			r.Row = 3
			w.begun.Unsent = []record{r}
		}, 0},
		"an event is there twice": {func(w *world) {
			r := *w.paid.event(shippingStatus, parcelPreparing)
			r.Offset = 900
			w.paid.Log = append(w.paid.Log, r)
		}, 0},
		"a charge was made, and its answer is on its way": {func(w *world) {
			s := w.begun
			s.row(payments).Payment.Status, s.row(payments).Payment.Total = "CHARGING", price
			s.row(payments).Version = 1
			s.waits(payments, "charge")
			s.Account = &account{Captures: 1, CapturedAmount: price.Amount, Currency: price.Currency, Charges: []string{s.ID.String() + "/charge"}}
		}, 0},
		"a notice went out, and its answer is on its way": {func(w *world) {
			w.paid.waits(notification, "paid/sms")
			w.paid.Sent = append(w.paid.Sent, sent{w.paid.ID.String() + "/paid/sms", "paid", "sms"})
		}, 0},
		"a redriven message is processed, and its letter not yet settled": {func(w *world) {
			w.parked.Letters[0].Status = letterRedriving
			w.parked.Lanes[0].Due = true
			w.parked.hears(payments, w.parked.event(paymentInitiated))
			w.parked.hears(payments, w.parked.event(orderCancelled))
		}, 0},
		"an order is overdue because of its carrier": {func(w *world) {
			s := w.begun
			s.row(orders).Created = now - 3600*second
			for _, of := range []service{inventory, notification, analytics} {
				s.hears(of, &s.Log[0])
			}
			s.row(analytics).Analysed.contribute(w.sums.stored)
			s.row(shipping).Created = s.row(orders).Created
			s.waits(shipping, "recall")
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.do(w)
			if f := passes(t, w); f.count.Later != c.later {
				t.Errorf("%d events are newer than the rows, want %d", f.count.Later, c.later)
			}
		})
	}
}

// The same is one where somebody says that nothing goes on any more.
func TestAtRestNothingIsOnItsWay(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want []string
	}{
		"all is done":            {func(w *world) { w.begun.order = &order{} }, nil},
		"an order has not ended": {func(*world) {}, []string{i6, i8}},
		"an event waits in the outbox": {func(w *world) {
			w.begun.order = &order{}
			r := *w.paid.event(notificationSent, "placed")
			r.Row = 5
			w.paid.Unsent = []record{r}
			w.sums.outbox(now)
		}, []string{i7}},
		"an event is newer than its row": {func(w *world) {
			w.begun.order = &order{}
			w.paid.at = now
			w.paid.says(notificationSent, "paid", "email")
			w.paid.row(notification).Said--
		}, []string{i7}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.look.atRest = true
			c.do(w)
			f := w.check()
			if got := violated(f); !slices.Equal(got, c.want) {
				t.Errorf("violated: %v, want %v\n%s", got, c.want, f.text())
			}
		})
	}
}

// What others say, and what people decide, is not judged as if the services had done it.
func TestForeignRecordsAreCountedApart(t *testing.T) {
	w := newWorld()
	strange := func(s *story, k kind, status string) *record {
		r := s.saysUnheard(k, status, "")
		s.row(r.Source).Said--
		r.Version, r.Source, r.Correlation, r.Offset = 0, stranger, "theirs", 700
		for _, of := range flow[k].consumers {
			s.hears(of, r)
		}
		return r
	}
	strange(w.paid, shippingStatus, "RETURNED")
	theirs := &story{order: &order{ID: anyID()}, world: w, at: now - 3600*second}
	strange(theirs, orderCreated, "")
	theirs.row(inventory).Stock.Status = "REJECTED"
	theirs.row(analytics).Analysed.contribute(w.sums.stored)
	theirs.Rows[orders] = nil
	w.begun = theirs
	f := passes(t, w)
	if f.count.Foreign != 2 || f.count.Orders != 3 {
		t.Errorf("%+v, want 2 foreign records and 3 orders", f.count)
	}
}

func TestWhatPeopleDecideIsNotJudged(t *testing.T) {
	for name, do := range map[string]func(w *world){
		"a message was dropped": func(w *world) {
			s := w.cancelled
			s.putAside(payments, s.event(orderCancelled), letterDropped)
			s.hears(payments, s.event(orderCancelled))
			s.row(payments).Payment.Status = moneySucceeded
			s.Account.Refunded, s.Account.RefundedAmount, s.Account.Refunds = 0, 0, nil
		},
		"a message was edited": func(w *world) {
			s := w.paid
			s.putAside(inventory, s.event(orderCreated), letterResolved)
			s.hears(inventory, s.event(orderCreated))
			s.Letters[0].Touched = true
			s.row(inventory).Stock.Items = []item{{mug, 1, 1250}, {mug, 1, 1250}, {"MUG-BLUE", 0, 1250}}
		},
		"a refund was settled in another way": func(w *world) {
			s := w.cancelled
			s.row(payments).Payment.Refund.Note = "in cash"
			s.Account.Refunded, s.Account.RefundedAmount = 0, 0
		},
		"a letter was restored behind what had passed": func(w *world) {
			s := w.paid
			s.putAside(orders, s.event(shippingStatus, parcelShipped), letterNew)
			s.Letters[0].Touched = true
			s.row(orders).Parked = true
			s.Lanes = []lane{{orders, s.ID, true, false}}
			s.Copies = []letterCopy{{Service: orders, Letter: s.Letters[0].ID, Stamp: s.at}}
		},
		"a letter of an unreadable message was dropped": func(w *world) {
			s := w.paid
			s.putAside(shipping, s.event(shippingInitiate), letterDropped)
			s.Letters[0].Ordered, s.Letters[0].Lane = false, s.Letters[0].ID
		},
		"a redriven message says nothing to its service": func(w *world) {
			s := w.paid
			s.putAside(analytics, s.event(shippingInitiate), letterResolved)
			s.Letters[0].Ignored = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			do(w)
			passes(t, w)
		})
	}
}

// Where retention has removed the beginning of a topic, what it had is not missed; what is younger still is.
func TestWhatRetentionRemovedIsNotMissed(t *testing.T) {
	w := newWorld()
	gone := w.paid.event(inventoryUpdate)
	w.look.gone[inventoryUpdate][gone.Partition] = gone.At + second
	w.paid.forget(gone)
	f := passes(t, w)
	if f.of(i7).skipped == 0 {
		t.Error("nothing was skipped")
	}

	w = newWorld()
	gone = w.paid.event(inventoryUpdate)
	w.look.gone[inventoryUpdate][gone.Partition] = now - 7200*second // long before the order began
	w.paid.forget(gone)
	if got := violated(w.check()); !slices.Equal(got, []string{i7}) {
		t.Errorf("violated: %v, want I7", got)
	}

	// The first occurrence is gone, a duplicate is left behind its successor.
	w = newWorld()
	r := w.paid.event(shippingStatus, parcelPreparing)
	w.look.gone[shippingStatus][r.Partition] = r.At
	r.Offset = 900
	if f := passes(t, w); f.of(i5).skipped == 0 {
		t.Error("nothing was skipped")
	}
}

// What was removed is held against nobody who has read it, or may have: whose rows were not looked at, who does not hear
// the topic, whose offset may have expired while nobody ran.
func TestWhatWasReadMayBeRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(w *world)
		skipped int64
	}{
		"by everyone, and nothing is left": {func(w *world) {
			for k := range kinds {
				w.look.starts[k] = map[int32]int64{0: 1000, 1: 1000, 2: 1000}
			}
		}, 0},
		"by those whose rows were looked at": {func(w *world) {
			w.look.starts[shippingInitiate] = map[int32]int64{1: 1001}
			w.look.committed[analytics][shippingInitiate][1] = 1001
			w.look.at[shipping] = 0
			for _, s := range w.all() {
				s.Rows[shipping] = nil
			}
		}, 0},
		"by a group whose offset may have expired": {func(w *world) {
			w.look.starts[shippingInitiate] = map[int32]int64{1: 12}
			delete(w.look.committed[shipping][shippingInitiate], 1)
			w.sums.worked[shipping] = now - offsetsKept.Microseconds() - second
		}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.do(w)
			if f := passes(t, w); f.of(i8).skipped != c.skipped {
				t.Errorf("%d were skipped, want %d", f.of(i8).skipped, c.skipped)
			}
		})
	}
}

// Without some of the databases, or without the log, the rest is checked all the same.
func TestWhatWasNotReadIsNotMissed(t *testing.T) {
	for s := range services {
		w := newWorld()
		w.look.at[s] = 0
		for _, one := range w.all() {
			one.Rows[s] = nil
			if s == orders {
				one.History = nil
			}
			if s == payments {
				one.Account, one.Letters, one.Lanes = nil, nil, nil
			}
		}
		switch s {
		case inventory:
			w.sums.levels, w.sums.restocked = map[string]level{}, map[string]level{}
		case analytics:
			w.sums.stored = tally{}
		}
		t.Run(s.String(), func(t *testing.T) {
			passes(t, w)
		})
	}
	t.Run("log", func(t *testing.T) {
		w := newWorld()
		w.look.log = false
		for _, one := range w.all() {
			one.Log, one.Copies = nil, nil
		}
		passes(t, w)
	})
}

// Where a publisher's rows were not read, the log must have no gap of its own.
func TestAGapInTheLogAlone(t *testing.T) {
	gap := func() *world {
		w := newWorld()
		w.look.at[payments] = 0
		for _, s := range w.all() {
			s.Rows[payments], s.Account, s.Letters, s.Lanes = nil, nil, nil, nil
		}
		w.paid.forget(w.paid.event(inventoryUpdate))
		return w
	}
	f := gap().check()
	if got := violated(f); !slices.Equal(got, []string{i5}) || !strings.Contains(f.text(), "payment's version 2 is missing, and its version 3 is there") {
		t.Errorf("violated: %v\n%s", got, f.text())
	}
	w := gap()
	w.look.gone[orderCreated][0] = 1 // something was removed: who knows what
	passes(t, w)
}

// A refund may be refused, tried again, and refused again; the order waits for an operator, and is listed.
func TestAnOrderThatNeedsAttentionIsListed(t *testing.T) {
	w := newWorld()
	s := w.place(time.Hour)
	s.pays()
	w.level(func(l *level) { l.Sold, l.Available = l.Sold+2, l.Available-2 })
	s.enters(statusCancelling, "CUSTOMER")
	for range 2 {
		s.says(paymentRefundFailed, "", "")
	}
	s.row(payments).Payment.Status, s.row(payments).Payment.Refund.Number = moneyRefundFailed, 2
	s.Account.Refunds = []string{s.ID.String() + "/refund", s.ID.String() + "/refund-2"}
	s.happens(factPaymentRefundFailed, historyFact{})
	s.row(orders).Order.Money.RefundFailed = true
	s.enters(statusNeedsAttention, "CUSTOMER")
	s.row(analytics).Analysed.contribute(w.sums.stored)
	w.begun = s
	f := passes(t, w)
	if f.lists != 2 || f.list[1].Status != statusNeedsAttention {
		t.Errorf("%d are listed: %+v", f.lists, f.list)
	}
}

// A letter's copy may be older than what Kafka, or the database, keeps.
func TestOldLettersAreNotMissed(t *testing.T) {
	w := newWorld()
	w.parked.Copies = nil
	w.look.lettersGone[payments] = w.parked.Letters[0].Recorded
	w.paid.Copies = []letterCopy{{Service: shipping, Letter: anyID(), Stamp: now - lettersKept.Microseconds() - 1}}
	if f := passes(t, w); f.of(i9).skipped != 1 {
		t.Errorf("%d were skipped, want 1", f.of(i9).skipped)
	}
}

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
