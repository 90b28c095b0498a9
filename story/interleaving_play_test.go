package story_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/payment"
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

// relayPause is about as long as a relay that had trouble waits, and an odd number: what relay and play did at one moment
// would not repeat itself.
const relayPause = 251_317 * time.Microsecond

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
	if len(choices) == 0 && p.wire != nil && p.wire.db.unsent() > 0 {
		choices = []interleavingAction{{"time passes", func() { p.reached(relayWaited); time.Sleep(relayPause) }}}
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

// hear delivers a message for the first time.
func (p *interleavingPlay) hear(m interleavingMessage) {
	p.noteEarly(m)
	p.take(m)
	p.deliver(m)
	p.delivered = append(p.delivered, m)
}
