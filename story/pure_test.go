package story_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
)

// The rare things, each of which may happen so often in one run.
const (
	pureDuplicate   = iota // a message comes again
	pureRewind             // all that a service heard of one topic comes again, in its order
	pureAckLost            // a message was processed, and its offset was not committed
	pureCallLost           // a call never arrives
	pureAnswerLost         // a call is made, and its answer gets lost
	pureAnswerTwice        // the commit of an answer succeeds, and nobody hears of it
	pureCallTwice          // a claim ran out: the same call is made beside the first
	pureCancel
	pureOrderDeadline
	purePaymentDeadline
	pureRarities
)

const (
	// pureRuns is how many interleavings the ordinary test walks; some seconds. interleavingsVariable says otherwise:
	// MILLRACE_INTERLEAVINGS=1000000 takes about a minute of one core.
	pureRuns              = 50_000
	interleavingsVariable = "MILLRACE_INTERLEAVINGS"
	// maxPureSteps is far more than an order ever needs.
	maxPureSteps = 1000
	// pureVain is how often a provider that does not decide is asked before a deadline is the only way on.
	pureVain = 4
	// pureReplays is how seldom a run's history is replayed: it costs as much as the run.
	pureReplays = 16
)

// TestAMillionInterleavings walks one order through the four services that decide about it, in interleavings drawn from a
// seed, with duplicates, losses and redelivery, cancels and deadlines at any moment. However it goes, the order ends, and
// money, stock and parcel are where its end says (I2, I3, I4, I6).
func TestAMillionInterleavings(t *testing.T) {
	t.Parallel()
	runs := pureRuns
	if text := os.Getenv(interleavingsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s=%q is no number", interleavingsVariable, text)
		}
		runs = n
	}
	seed := rand.Uint64()
	if text := os.Getenv(timeoutSeedVariable); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("%s=%q is no seed: %v", timeoutSeedVariable, text, err)
		}
	}
	ends := map[string]int{}
	steps := 0
	began := time.Now()
	for run := range runs {
		w := newPureWorld(rand.New(rand.NewPCG(seed, uint64(run))))
		steps += w.play(run%pureReplays == 0)
		if w.wrong != "" {
			told := newPureWorld(rand.New(rand.NewPCG(seed, uint64(run))))
			told.trace = t.Logf
			told.play(true)
			t.Fatalf("%s=%d, run %d: %s", timeoutSeedVariable, seed, run, w.wrong)
		}
		ends[string(w.order.row.Status)+" "+string(w.order.row.Reason)]++
	}
	took := time.Since(began)
	t.Logf("%d interleavings, %d steps, in %s: %.0f a minute; ended %v", runs, steps, took.Round(time.Millisecond), float64(runs)/took.Minutes(), ends)
	for _, end := range []string{"DELIVERED ", "CANCELLED OUT_OF_STOCK", "CANCELLED PAYMENT_FAILED", "CANCELLED CUSTOMER", "CANCELLED DEADLINE", "CANCELLED SHIPMENT_FAILED"} {
		if ends[end] == 0 && runs >= pureRuns {
			t.Errorf("none of %d interleavings ended %s", runs, end)
		}
	}
}

func (w *pureWorld) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// play goes on until nothing is left to happen.
func (w *pureWorld) play(replay bool) (steps int) {
	ctx := w.context(w.id())
	if _, err := w.orders.Place(ctx, pureOrderID, w.pureCommand()); err != nil {
		w.fail("place: %v", err)
	}
	for steps < maxPureSteps && w.wrong == "" {
		steps++
		if !w.step() {
			w.checkEnd(replay)
			return steps
		}
	}
	w.fail("after %d steps there is still something to do", steps)
	return steps
}

// step does one of the things that can happen.
func (w *pureWorld) step() bool {
	const oneInSoManyIsRare = 6
	if w.random.IntN(oneInSoManyIsRare) == 0 && w.rare() {
		return true
	}
	effects := w.effects(false)
	n := len(w.pending) + len(w.answers) + len(effects)
	if n == 0 {
		return w.lastResort()
	}
	switch i := w.random.IntN(n); {
	case i < len(w.pending):
		w.hear(w.pending[i].lane)
	case i < len(w.pending)+len(w.answers):
		w.bring(i - len(w.pending))
	default:
		w.claim(effects[i-len(w.pending)-len(w.answers)], true)
	}
	return true
}

func (w *pureWorld) spend(rarity int) bool {
	const oneIn = 4
	if w.left[rarity] == 0 || w.random.IntN(oneIn) != 0 {
		return false
	}
	w.left[rarity]--
	return true
}

// hear delivers the oldest message of a lane.
func (w *pureWorld) hear(lane pureLane) {
	i := slices.IndexFunc(w.pending, func(m pureMessage) bool { return m.lane == lane })
	m := w.pending[i]
	w.deliver(m)
	if w.spend(pureAckLost) {
		return // it comes again, before what is behind it
	}
	w.delivered = append(w.delivered, m)
	i = slices.IndexFunc(w.pending, func(p pureMessage) bool { return p.lane == lane && p.id == m.id })
	w.pending = slices.Delete(w.pending, i, i+1)
}

func (w *pureWorld) deliver(m pureMessage) {
	w.say("%c hears %T %+v", m.lane.service, m.event, m.event)
	if err := w.react(m); err != nil {
		w.fail("%T is refused: %v", m.event, err)
	}
}

// pureEffect is what a row waits for.
type pureEffect struct {
	service byte
	step    string
}

// effects are the calls that can be made now; again: those that are under way as well.
func (w *pureWorld) effects(again bool) (list []pureEffect) {
	add := func(service byte, waits []event.Wait) {
		for _, wait := range waits {
			if wait.Step == event.DeadlineStep || wait.Step == "overdue" || wait.Step == payment.StepAsk && w.vain >= pureVain {
				continue
			}
			underWay := slices.ContainsFunc(w.answers, func(a pureAnswer) bool { return a.step == wait.Step })
			if underWay == again {
				list = append(list, pureEffect{service, wait.Step})
			}
		}
	}
	add('p', w.payment.waits)
	add('s', w.shipment.waits)
	return list
}

// claim makes a call.
func (w *pureWorld) claim(e pureEffect, mayFail bool) {
	if mayFail && w.spend(pureCallLost) {
		w.say("%s never arrives", e.step)
		return
	}
	var home func() error
	var err error
	switch e.service {
	case 'o':
		home, err = w.order.claim(e.step)
	case 'p':
		home, err = w.payment.claim(e.step)
	case 's':
		home, err = w.shipment.claim(e.step)
	}
	w.say("%s is called: %v", e.step, err)
	if errors.Is(err, payment.ErrStillPending) {
		w.vain++
	}
	if err != nil || mayFail && w.spend(pureAnswerLost) {
		return
	}
	w.answers = append(w.answers, pureAnswer{e.step, home})
}

// bring brings an answer home.
func (w *pureWorld) bring(i int) {
	a := w.answers[i]
	w.say("the answer to %s", a.step)
	if err := a.home(); err != nil {
		w.fail("the answer to %s is refused: %v", a.step, err)
	}
	if !w.spend(pureAnswerTwice) {
		w.answers = slices.Delete(w.answers, i, i+1)
	}
}

// rare does one of the rare things, if it can.
func (w *pureWorld) rare() bool {
	rarity := w.random.IntN(pureRarities)
	if w.left[rarity] == 0 {
		return false
	}
	switch rarity {
	case pureDuplicate:
		if len(w.delivered) == 0 {
			return false
		}
		w.deliver(w.delivered[w.random.IntN(len(w.delivered))])
	case pureRewind:
		if len(w.delivered) == 0 {
			return false
		}
		lane := w.delivered[w.random.IntN(len(w.delivered))].lane
		for _, m := range w.delivered {
			if m.lane == lane {
				w.deliver(m)
			}
		}
	case pureCallTwice:
		under := w.effects(true)
		if len(under) == 0 {
			return false
		}
		w.claim(under[w.random.IntN(len(under))], false)
	case pureCancel:
		w.say("the customer cancels")
		var late *order.TooLateError
		if _, err := w.orders.Cancel(w.context(w.id()), pureOrderID); err != nil && !errors.As(err, &late) {
			w.fail("cancel: %v", err)
		}
	case pureOrderDeadline:
		return w.deadline('o', w.order.waits, rarity)
	case purePaymentDeadline:
		return w.deadline('p', w.payment.waits, rarity)
	default:
		return false // happens along the way
	}
	w.left[rarity]--
	return true
}

func (w *pureWorld) deadline(service byte, waits []event.Wait, rarity int) bool {
	if !slices.ContainsFunc(waits, func(wait event.Wait) bool { return wait.Step == event.DeadlineStep }) {
		return false
	}
	w.left[rarity]--
	w.claim(pureEffect{service, event.DeadlineStep}, false)
	return true
}

// lastResort: nothing moves any more but deadlines, and then operators.
func (w *pureWorld) lastResort() bool {
	for _, of := range []struct {
		service byte
		waits   []event.Wait
	}{{'p', w.payment.waits}, {'o', w.order.waits}} {
		if slices.ContainsFunc(of.waits, func(wait event.Wait) bool { return wait.Step == event.DeadlineStep }) {
			w.claim(pureEffect{of.service, event.DeadlineStep}, false)
			return true
		}
	}
	if w.payment.row.Status == payment.StatusRefundFailed {
		w.settled = true
		if err := w.payments.Resolve(w.context(w.id()), pureOrderID, payment.SettleRefund, "by the bank"); err != nil {
			w.fail("settle the refund: %v", err)
		}
		return true
	}
	if w.shipment.row.Status == event.ParcelRecallFailed {
		w.solved = true
		as := []shipping.Resolution{shipping.ResolveReturned, shipping.ResolveWrittenOff}[w.random.IntN(2)]
		if err := w.parcels.Resolve(w.context(w.id()), pureOrderID, as, "seen"); err != nil {
			w.fail("resolve the parcel: %v", err)
		}
		return true
	}
	return false
}

// check is what holds when something is said.
func (w *pureWorld) check(e event.Event) {
	p := &w.provider
	if p.captures > 1 || p.refunded > p.captures || w.carrier.booked > 1 {
		w.fail("%d captures, %d refunds, %d parcels", p.captures, p.refunded, w.carrier.booked)
	}
	status, ok := e.(event.OrderStatusUpdated)
	if ok && status.Status == event.OrderIsCancelled && p.captures != p.refunded && !w.settled {
		w.fail("cancelled, and %d of %d captures given back", p.refunded, p.captures)
	}
}

// checkEnd is what holds at the end.
func (w *pureWorld) checkEnd(replay bool) {
	o, p := &w.order.row, &w.provider
	kept := p.captures - p.refunded
	reservation, lost := w.stock.row.Status, w.words["parcel "+string(event.ParcelLost)]
	switch {
	case o.Status == event.OrderDelivered && kept == 1 && reservation == inventory.Sold:
	case o.Status == event.OrderIsCancelled && (kept == 0 || w.settled) && reservation != inventory.Reserved && (reservation == inventory.Sold) == lost:
	default:
		w.fail("ended %s(%s): %d captured, %d given back, stock %s, parcel %s, lost %v", o.Status, o.Reason, p.captures, p.refunded, reservation, w.carrier.state, lost)
	}
	if asked := w.payment.exists; w.words["failed or sold"] != asked {
		w.fail("payment was asked: %v, and gave its word: %v", asked, w.words["failed or sold"])
	}
	if len(w.payment.waits)+len(w.shipment.waits)+len(w.order.waits) > 0 {
		w.fail("it still waits for %v %v %v", w.order.waits, w.payment.waits, w.shipment.waits)
	}
	if rebuilt := order.Replay(pureOrderID, w.facts); replay && !reflect.DeepEqual(rebuilt, *o) {
		w.fail("it is not what its history says:\n%+v\n%+v", rebuilt, *o)
	}
}
