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
			w.parked.Lanes[0].Due = now
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
			w.sums.backlogs = []backlog{{rows: 1, since: now}}
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
			s.Lanes = []lane{{orders, s.ID, true, 0}}
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

// Where only a row is known, that it took one cause twice is seen.
func TestARowAlone(t *testing.T) {
	w := newWorld()
	w.look.log, w.look.provider, w.look.at[orders] = false, false, 0
	s := &story{order: &order{ID: anyID()}, world: w, at: now - 600*second}
	s.row(payments).Processed = []id{{6: 5 << 4}, {6: 5 << 4}} // an answer's, a UUIDv5
	s.conclude(&w.look)
	f := newFindings(DefaultExamples)
	checkOrder(s.order, &w.look, w.sums, f)
	if got := violated(f); !slices.Equal(got, []string{i2}) {
		t.Errorf("violated: %v, want I2\n%s", got, f.text())
	}
}

// Where a publisher's rows were not read, the log must have no gap of its own.
func TestAGapInTheLogAlone(t *testing.T) {
	gap := func() *world {
		w := newWorld()
		w.look.at[payments] = 0
		for _, s := range w.all() {
			s.Rows[payments], s.Account, s.Letters, s.Lanes = nil, nil, nil, nil
		}
		w.paid.unhear(inventory, w.paid.event(inventoryUpdate))
		w.paid.forget(w.paid.event(inventoryUpdate))
		return w
	}
	f := gap().check()
	if got := violated(f); !slices.Equal(got, []string{i5}) || !strings.Contains(f.text(), "payment's version 2 is missing, and its version 3 is there") {
		t.Errorf("violated: %v\n%s", got, f.text())
	}
	wide := gap()
	wide.paid.event(shippingInitiate).Version = 1 << 62 // its own word
	if f := wide.check(); f.of(i5).violations != 1 || !strings.Contains(f.text(), "payment's versions 2 to 4611686018427387903 are missing") {
		t.Errorf("%d violations\n%s", f.of(i5).violations, f.text())
	}
	w := gap()
	w.look.gone[orderCreated][w.paid.partition] = everGone // that is not payment's
	w.look.gone[paymentPending][(w.paid.partition+1)%3] = everGone
	if got := violated(w.check()); !slices.Equal(got, []string{i5}) {
		t.Errorf("violated: %v, want I5", got)
	}
	w = gap()
	w.look.gone[paymentPending][w.paid.partition] = everGone // who knows what it had
	if f := passes(t, w); f.of(i5).skipped != 1 {
		t.Errorf("%d were skipped, want 1", f.of(i5).skipped)
	}
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
