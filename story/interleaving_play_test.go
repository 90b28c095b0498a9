package story_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	paymentsim "millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
	"millrace/outbox"
)

// interleavingPlay decides what happens next. All of it is drawn, unless straight: then
// everything happens at once and in order.
type interleavingPlay struct {
	*interleavingWorld
	straight bool
	// giveUp: customers cancel and deadlines fire at any time. Otherwise a deadline
	// fires only when nothing else is left to happen.
	giveUp bool

	calls    []*interleavingCall
	attempts map[string]int
	again    map[string]time.Time  // when an unanswered call is due
	slow     map[string]bool       // what has to wait until nothing else can happen
	left     map[string]int        // how often something may still happen
	from     map[event.OrderID]int // after how many events an order is given up, at the earliest
	toPlace  []interleavingOrder
}

// How often the rare things may happen in one run, so that it ends.
const (
	duplicatesPerRun    = 12
	faultsPerRun        = 6
	doubleCallsPerRun   = 3
	failedCommitsPerRun = 3
	restocksPerRun      = 1
	cancelsPerOrder     = 2
	callbacksPerOrder   = 3
	reportsPerOrder     = 3
	// longStory is about how many events an order's story has, so that it is given up early and late.
	longStory = 16
	// maxInterleavingSteps is far more than three orders ever need.
	maxInterleavingSteps = 3000
)

type interleavingAction struct {
	name string
	do   func()
}

func newInterleavingPlay(w *interleavingWorld, straight, giveUp bool) *interleavingPlay {
	p := &interleavingPlay{
		interleavingWorld: w, straight: straight, giveUp: giveUp,
		attempts: map[string]int{}, again: map[string]time.Time{}, slow: map[string]bool{}, toPlace: w.scenario.orders,
		from: map[event.OrderID]int{},
		left: map[string]int{"duplicate": duplicatesPerRun, "fault": faultsPerRun, "double call": doubleCallsPerRun,
			"failed commit": failedCommitsPerRun, "restock": restocksPerRun},
	}
	for _, o := range w.scenario.orders {
		// Drawn, so that some orders go their way undisturbed.
		p.left["cancel "+string(o.id)] = p.draw(cancelsPerOrder+1, "cancels")
		for _, service := range []string{"order", "payment"} {
			p.left[service+" deadline "+string(o.id)] = p.draw(4, service+" deadline") / 3
		}
		p.from[o.id] = p.draw(longStory, "given up from event")
	}
	return p
}

// run plays until nothing is left to happen, an operator's part included.
func (p *interleavingPlay) run() {
	for range maxInterleavingSteps {
		action, ok := p.next()
		if !ok {
			return
		}
		if !p.straight {
			p.t.Log(action.name)
		}
		action.do()
		p.publish()
		p.checkStep()
	}
	p.t.Fatalf("after %d steps there is still something to do", maxInterleavingSteps)
}

// next picks one of the things that can happen. What is drawn to be slow waits for all that is
// not: that is how a topic, or a call, gets far behind the others.
func (p *interleavingPlay) next() (interleavingAction, bool) {
	var quick, slow []interleavingAction
	for _, a := range p.ordinary() {
		if p.isSlow(a.name) {
			slow = append(slow, a)
		} else {
			quick = append(quick, a)
		}
	}
	choices := append(quick, p.later()...)
	if len(quick) > 0 {
		choices = quick
	}
	if len(choices) == 0 {
		choices = slow
	}
	if p.draw(6, "rare") == 5 { // one step in six, if there is anything
		if rare := p.rare(); len(rare) > 0 {
			choices = rare
		}
	}
	if len(choices) == 0 {
		choices = p.lastResort()
	}
	if len(choices) == 0 {
		return interleavingAction{}, false
	}
	return choices[p.draw(len(choices), "next")], true
}

func (p *interleavingPlay) draw(n int, label string) int {
	if p.straight || n == 1 {
		return 0
	}
	return rapid.IntRange(0, n-1).Draw(p.t, label)
}

func (p *interleavingPlay) isSlow(name string) bool {
	slow, known := p.slow[name]
	if !known {
		slow = p.draw(5, "slow") == 4
		p.slow[name] = slow
	}
	return slow
}

// spend takes one from a bounded supply.
func (p *interleavingPlay) spend(what string, supply int) bool {
	if _, known := p.left[what]; !known {
		p.left[what] = supply
	}
	p.left[what]--
	return p.left[what] >= 0
}

func (p *interleavingPlay) has(what string, supply int) bool {
	left, known := p.left[what]
	return !known && supply > 0 || left > 0
}

// ordinary is what can happen now.
func (p *interleavingPlay) ordinary() []interleavingAction {
	var list []interleavingAction
	for _, c := range p.calls {
		list = append(list, interleavingAction{interleavingWaitName(c.service, c.wait) + " goes on", func() { p.goOn(c) }})
	}
	for _, m := range p.heads() {
		list = append(list, interleavingAction{m.lane(), func() { p.hear(m) }})
	}
	for i, o := range p.toPlace {
		list = append(list, interleavingAction{"place " + string(o.id), func() { p.place(i, o) }})
	}
	for _, w := range p.waits(isEffect) {
		if !w.due.After(time.Now()) && !p.underWay(w) {
			list = append(list, interleavingAction{interleavingWaitName(w.service, w.MemoryWait), func() { p.claim(w) }})
		}
	}
	return list
}

// later is what becomes due by itself, soonest first.
func (p *interleavingPlay) later() []interleavingAction {
	var list []interleavingAction
	for _, w := range p.waits(isEffect) {
		const vain = 4 // a provider that has not decided by then never will
		asksInVain := w.Step == payment.StepAsk && p.attempts[interleavingWaitName(w.service, w.MemoryWait)] >= vain
		if w.due.After(time.Now()) && !p.underWay(w) && !asksInVain {
			list = append(list, interleavingAction{"later: " + interleavingWaitName(w.service, w.MemoryWait), func() { p.claim(w) }})
		}
	}
	return list
}

// lastResort: nothing moves any more but deadlines, and then operators.
func (p *interleavingPlay) lastResort() []interleavingAction {
	for _, w := range p.waits(isDeadline) {
		return []interleavingAction{{"at last: " + interleavingWaitName(w.service, w.MemoryWait), func() { p.claim(w) }}}
	}
	return p.operator()
}

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
		may("restock", 0, "restock", func() {
			p.stockMoved = true
			p.must(p.services.Inventory.Restock(p.command(), interleavingSKUs[0], "", 1))
		})
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

// interleavingWait is a wait of some service, due again if it was asked in vain.
type interleavingWait struct {
	outbox.MemoryWait
	service string
	due     time.Time
}

func isDeadline(step string) bool { return step == event.DeadlineStep }

// isEffect leaves out the deadlines and the alarm of an order that takes long, which does nothing.
func isEffect(step string) bool { return step != event.DeadlineStep && step != "overdue" }

func (p *interleavingPlay) waits(want func(step string) bool) []interleavingWait {
	var list []interleavingWait
	for _, n := range p.nodes {
		for _, w := range n.memory().Waits() {
			if want(w.Step) {
				due := w.Due
				if again := p.again[interleavingWaitName(n.service(), w)]; again.After(due) {
					due = again
				}
				list = append(list, interleavingWait{w, n.service(), due})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b interleavingWait) int { return cmp.Compare(a.due.UnixNano(), b.due.UnixNano()) })
	return list
}

func (p *interleavingPlay) underWay(w interleavingWait) bool {
	return slices.ContainsFunc(p.calls, func(c *interleavingCall) bool {
		return c.service == w.service && c.wait.OrderID == w.OrderID && c.wait.Step == w.Step
	})
}

func interleavingWaitName(service string, w outbox.MemoryWait) string {
	return fmt.Sprintf("%s %s of %s", service, w.Step, w.OrderID)
}

func isPendingMethod(method string) bool {
	return method == paymentsim.PendingAccepted || method == paymentsim.PendingDeclined
}

// claim takes a wait, at its time.
func (p *interleavingPlay) claim(w interleavingWait) {
	time.Sleep(time.Until(w.due))
	name := interleavingWaitName(w.service, w.MemoryWait)
	p.attempts[name]++
	if isDeadline(w.Step) {
		p.reached(w.service + " deadline fired")
	}
	p.calls = append(p.calls, p.node(w.service).claim(w.MemoryWait, p.attempts[name]))
}

// goOn makes a call, or brings its answer back.
func (p *interleavingPlay) goOn(c *interleavingCall) {
	name := interleavingWaitName(c.service, c.wait)
	giveUp := func(err error) {
		p.again[name] = time.Now().Add(interleavingPause(err))
		p.calls = slices.DeleteFunc(p.calls, func(other *interleavingCall) bool { return other == c })
	}
	if !c.made {
		const fails, lost = 8, 9 // out of ten
		fault := 0
		if !isDeadline(c.wait.Step) && p.has("fault", 0) {
			fault = p.draw(10, "fault")
		}
		if fault == fails {
			p.spend("fault", 0)
			giveUp(errors.New("the call never arrived"))
			return
		}
		err := c.make()
		if err == nil && fault == lost {
			p.spend("fault", 0)
			p.reached(answerLost)
			err = errors.New("the answer was lost")
		}
		if err != nil {
			giveUp(err)
			return
		}
		c.made = true
		return
	}
	wanted, err := c.answer()
	if err != nil {
		p.t.Fatalf("%s: the answer was refused: %v", name, err)
	}
	if !wanted {
		p.reached(answerUnwanted)
	}
	// The answer to the commit may have got lost: then the same answer is brought again.
	p.mustNotCommit(p.node(c.service), "the same answer of "+name+" again", func() {
		_, err := c.answer()
		p.must(err)
	})
	p.calls = slices.DeleteFunc(p.calls, func(other *interleavingCall) bool { return other == c })
}

func (p *interleavingPlay) place(i int, o interleavingOrder) {
	p.toPlace = slices.Delete(slices.Clone(p.toPlace), i, i+1)
	ctx := event.WithCause(p.t.Context(), event.Cause{ID: interleavingID("place", o.id), CorrelationID: "corr-" + string(o.id), Time: time.Now(), Command: true})
	created, err := p.services.Order.Place(ctx, o.id, o.command)
	p.must(err)
	if !created {
		p.t.Fatalf("order %s had been placed before", o.id)
	}
	p.placed[o.id] = true
	p.mustNotCommit(p.order, "placing it again", func() {
		if created, err = p.services.Order.Place(ctx, o.id, o.command); err != nil || created {
			p.t.Fatalf("order %s placed again: created %v, %v", o.id, created, err)
		}
	})
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

// hear delivers a message for the first time.
func (p *interleavingPlay) hear(m interleavingMessage) {
	p.noteEarly(m)
	p.take(m)
	p.deliver(m)
	p.delivered = append(p.delivered, m)
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

// failCommit makes a store's next transaction fail once, so that its changes run again.
func (p *interleavingPlay) failCommit() {
	n := p.nodes[p.draw(len(p.nodes), "of")]
	failed := false
	n.memory().FailWith(func() error {
		if failed {
			return nil
		}
		failed = true
		p.reached(commitFailed)
		return errors.New("the connection broke")
	})
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
