package story_test

import (
	"errors"
	"fmt"
	"time"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	paymentsim "millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
)

// rare is what comes from outside, or goes wrong.
func (p *interleavingPlay) rare() []interleavingAction {
	var list []interleavingAction
	may := func(what string, supply int, name string, do func()) {
		if p.has(what, supply) {
			list = append(list, interleavingAction{name, func() { p.spend(what, supply); do() }})
		}
	}
	if len(p.delivered) > 0 {
		may("duplicate", 0, "duplicate", func() { p.duplicate(p.delivered[p.draw(len(p.delivered), "which")]) })
	}
	may("failed commit", 0, "the next commit fails", p.failCommit)
	if p.wire != nil {
		may("lease", leaseLossesPerRun, "a lease is lost", func() { p.reached(leaseLost); p.wire.db.expire() })
	}
	for _, w := range p.waits(isEffect) {
		if p.underWay(w) {
			may("double call", 0, "claimed again: "+interleavingWaitName(w.service, w.MemoryWait), func() { p.reached(callsOverlap); p.claim(w) })
		}
	}
	for _, o := range p.scenario.orders {
		id := string(o.id)
		if !p.placed[o.id] {
			continue
		}
		if account := p.bank.Account(o.id); !account.Empty() && isPendingMethod(o.command.PaymentMethod) {
			may("callback "+id, callbacksPerOrder, "callback "+id, func() { p.callback(o) })
		}
		if p.carrier.parcels[o.id] != nil {
			may("report "+id, reportsPerOrder, "carrier reports "+id, func() { p.report(o) })
		}
		if p.givenUp(o.id) {
			may("cancel "+id, 0, "cancel "+id, func() { p.cancel(o) })
		}
	}
	if p.giveUp {
		may("restock", 0, "restock", p.restock)
		for _, w := range p.waits(isDeadline) {
			if !p.givenUp(w.OrderID) {
				continue
			}
			may(w.service+" deadline "+string(w.OrderID), 0, interleavingWaitName(w.service, w.MemoryWait), func() { p.claim(w) })
		}
		list = append(list, p.operator()...)
	}
	return list
}

// givenUp tells whether a customer, or a deadline, may give an order up by now.
func (p *interleavingPlay) givenUp(id event.OrderID) bool {
	said := p.said[id]
	return p.giveUp && said != nil && len(said.events) >= p.from[id]
}

func isPendingMethod(method string) bool {
	return method == paymentsim.PendingAccepted || method == paymentsim.PendingDeclined
}

// duplicate delivers a message again: that must change nothing, in any row.
func (p *interleavingPlay) duplicate(m interleavingMessage) {
	p.reached(duplicateHeard)
	n := p.node(m.service)
	before, levels := n.snapshot(m.event.Key()), p.levels()
	p.mustNotCommit(n, "a duplicate of "+interleavingBrief(m.event), func() { p.deliver(m) })
	if after := n.snapshot(m.event.Key()); after != before {
		p.t.Fatalf("a duplicate of %s changed %s:\n%s\n%s", interleavingBrief(m.event), m.service, before, after)
	}
	if after := p.levels(); after != levels {
		p.t.Fatalf("a duplicate of %s moved stock from %s to %s", interleavingBrief(m.event), levels, after)
	}
	for _, n := range p.nodes {
		if out := n.memory().TakeOutbox(); len(out) > 0 {
			p.t.Fatalf("a duplicate of %s made %s say %s", interleavingBrief(m.event), n.service(), out[0].Topic)
		}
	}
}

// mustNotCommit does something again, which the store has to recognise.
func (p *interleavingPlay) mustNotCommit(n interleavingService, what string, again func()) {
	p.t.Helper()
	committed := false
	n.memory().FailWith(func() error { committed = true; return nil })
	again()
	n.memory().FailWith(nil)
	if committed {
		p.t.Fatalf("%s: %s was committed", n.service(), what)
	}
}

func (p *interleavingPlay) restock() {
	p.stockMoved = true
	ctx := p.command()
	restock := func() { p.must(p.services.Inventory.Restock(ctx, interleavingSKUs[0], "", 1)) }
	restock()
	p.mustNotCommit(p.stock, "the same restock again", restock)
}

// failCommit makes a store's next transaction fail once, so that its changes run again: before it has committed, or after.
func (p *interleavingPlay) failCommit() {
	n := p.nodes[p.draw(len(p.nodes), "of")].memory()
	once := func(path string) func() error {
		failed := false
		return func() error {
			if failed {
				return nil
			}
			failed = true
			p.reached(path)
			return errors.New("the connection broke")
		}
	}
	if p.draw(2, "committed") == 1 {
		n.LoseAnswers(once(commitAnswerLost))
		return
	}
	n.FailWith(once(commitFailed))
}

// cancel is the customer's. The same request comes twice.
func (p *interleavingPlay) cancel(o interleavingOrder) {
	before, _ := p.order.row(o.id)
	ctx := p.command()
	tooLate := before.Status == event.OrderShipped || before.Status == event.OrderDelivered || before.Status == event.OrderNeedsAttention
	cancel := func() order.Order {
		after, err := p.services.Order.Cancel(ctx, o.id)
		var late *order.TooLateError
		if tooLate != errors.As(err, &late) || err != nil && !tooLate {
			p.t.Fatalf("cancelling a %s order: %v", before.Status, err)
		}
		return after
	}
	after := cancel()
	p.mustNotCommit(p.order, "the same cancel again", func() { cancel() })
	switch {
	case tooLate:
		p.reached(cancelTooLate)
	case after.Status == event.OrderCancelling && before.Status != event.OrderCancelling:
		p.reached("cancelled in " + string(before.Status))
	}
}

// callback is the provider's own word on a charge it has decided.
func (p *interleavingPlay) callback(o interleavingOrder) {
	request := payment.Request{OrderID: o.id}
	charge := p.bank.Account(o.id).Charges[request.ChargeKey()]
	if charge.Outcome == payment.Pended {
		time.Sleep(time.Until(charge.DecidesAt))
	}
	result, err := p.provider.Find(p.t.Context(), request)
	p.must(err)
	if p.bank.Account(o.id).Charges[request.ChargeKey()].Outcome == payment.Voided {
		return // of those the provider does not tell
	}
	row, _ := p.payment.row(o.id)
	p.reached("callback in " + string(row.Status))
	ctx := p.commandAs(interleavingID("callback", o.id))
	if p.draw(3, "another id") == 2 {
		ctx = p.command()
	}
	p.must(p.services.Payment.Callback(ctx, payment.Callback{OrderID: o.id, Outcome: result.Outcome, ProviderRef: result.ProviderRef}))
}

// report is the carrier's own word on a parcel.
func (p *interleavingPlay) report(o interleavingOrder) {
	report, err := p.carrier.Track(p.t.Context(), shipping.Parcel{OrderID: o.id, Address: *o.command.ShippingAddress})
	p.must(err)
	var stale *shipping.StaleReport
	switch err := p.services.Shipping.Callback(p.command(), o.id, report); {
	case errors.As(err, &stale):
	default:
		p.must(err)
		p.reached(carrierReported)
	}
}

// operator is what an operator can do about what was refused for good.
func (p *interleavingPlay) operator() []interleavingAction {
	var list []interleavingAction
	for _, o := range p.scenario.orders {
		row, _ := p.payment.row(o.id)
		if row.Status == payment.StatusRefundFailed {
			action := payment.SettleRefund
			if o.retry && row.Refund.Number == 1 {
				action = payment.RetryRefund
			}
			list = append(list, interleavingAction{fmt.Sprintf("operator: refund %s %s", action, o.id), func() {
				p.reached("operator: refund " + string(action))
				p.settled[o.id] = action == payment.SettleRefund
				p.must(p.services.Payment.Resolve(p.command(), o.id, action, "as the bank says"))
			}})
		}
		shipment, _ := p.shipping.row(o.id)
		if shipment.Status == event.ParcelRecallFailed {
			as := shipping.ResolveWrittenOff
			if o.returned {
				as = shipping.ResolveReturned
			}
			list = append(list, interleavingAction{fmt.Sprintf("operator: parcel %s %s", as, o.id), func() {
				p.reached("operator: parcel " + string(as))
				p.solved[o.id] = true
				p.must(p.services.Shipping.Resolve(p.command(), o.id, as, "seen on the shelf"))
			}})
		}
	}
	return list
}
