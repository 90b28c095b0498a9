//go:build unix

package story_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/event"
	"millrace/handlers/order"
	paymentsim "millrace/handlers/payment/simulator"
	"millrace/outbox"
)

// timeoutLife is one way an order can go, and how it must end whatever goes wrong on the way.
type timeoutLife struct {
	name   string
	method string
	// postalCode of the address; empty: collected in the shop.
	postalCode string
	pieces     int64
	// carrierStep is how fast parcels move; 0 is at once.
	carrierStep time.Duration
	// meanwhile is what people do.
	meanwhile func(l *timeoutRun)

	status             event.OrderStatus
	reason             event.CancelReason
	captures, refunded int
	booked, sold       bool
}

var timeoutLives = []timeoutLife{
	{name: "delivered", method: paymentsim.Accepted, postalCode: "BA1 1AA", pieces: 2,
		status: event.OrderDelivered, captures: 1, booked: true, sold: true},
	{name: "declined", method: paymentsim.Declined, postalCode: "BA1 1AA", pieces: 1,
		status: event.OrderIsCancelled, reason: event.ReasonPaymentFailed},
	{name: "out of stock", method: paymentsim.Accepted, pieces: 2 * timeoutStock,
		status: event.OrderIsCancelled, reason: event.ReasonOutOfStock},
	{name: "cancelled before the money", method: paymentsim.PendingForever, postalCode: "BA1 1AA", pieces: 1,
		meanwhile: func(r *timeoutRun) { r.isNow(event.OrderPaymentPending); r.cancel() },
		status:    event.OrderIsCancelled, reason: event.ReasonCustomer},
	{name: "cancelled after the money", method: paymentsim.Accepted, postalCode: "BA1 1AA", pieces: 1, carrierStep: time.Hour,
		meanwhile: func(r *timeoutRun) { r.isNow(event.OrderPaid); r.cancel() },
		status:    event.OrderIsCancelled, reason: event.ReasonCustomer, captures: 1, refunded: 1},
	{name: "sent back", method: paymentsim.Accepted, postalCode: undeliverable, pieces: 1,
		status: event.OrderIsCancelled, reason: event.ReasonShipmentFailed, captures: 1, refunded: 1, booked: true},
	{name: "behind a dead letter", method: paymentsim.PendingForever, postalCode: "BA1 1AA", pieces: 1,
		meanwhile: func(r *timeoutRun) { r.isLettered(); r.cancel(); r.isParked(); r.redrive() },
		status:    event.OrderIsCancelled, reason: event.ReasonCustomer},
}

const (
	// everyCallVariable, set to 1, has every call fail once, in both ways, instead of a sample: it takes minutes.
	everyCallVariable = "MILLRACE_EVERY_CALL"
	// sampledCalls is how many calls of each life have each mishap otherwise: surelySampled, and others that the seed chooses.
	sampledCalls = 6
	// timeoutSeedVariable repeats a sample.
	timeoutSeedVariable = "MILLRACE_SEED"
	// fastStep is for lives in which the parcel just moves.
	fastStep = time.Millisecond
)

// surelySampled is the commit in which inventory processes an order's first event, in every life: made, and taken for failed, it
// is tried again, and only that the event is remembered as processed keeps it from taking effect twice.
var surelySampled = callPoint{"inventory: COMMIT", 1}

// Each call that leaves the process is made and then fails, or gets lost, once: in the whole life of an order, one call a life,
// through the real handlers. Whatever it was, the order ends as it would have, and nothing is lost, doubled or overtaken.
func TestEveryCallExecutedAndTimedOutOrLost(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv(timeoutSeedVariable); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatalf("%s=%q is no seed: %v", timeoutSeedVariable, text, err)
		}
	}
	t.Logf("%s=%d repeats the choice of calls", timeoutSeedVariable, seed)
	for _, life := range timeoutLives {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			if life.carrierStep == 0 {
				life.carrierStep = fastStep
			}
			s := newTimeoutSystem(t, life.carrierStep)
			s.live(life, callPoint{}, "") // warms up: statements are prepared
			points, _ := s.live(life, callPoint{}, "")
			chosen := points
			if os.Getenv(everyCallVariable) != "1" {
				chosen = sampleOf(points, rand.New(rand.NewPCG(seed, 0)))
			}
			struck := 0
			for _, p := range chosen {
				for _, how := range mishaps {
					if _, hit := s.live(life, p, how); hit {
						struck++
					}
				}
			}
			s.checkStock()
			t.Logf("%d calls of %d kinds in one life; %d mishaps, of %d chosen calls", len(points), kinds(points), struck, len(chosen))
			if struck == 0 || !slices.Contains(points, surelySampled) {
				t.Errorf("%d calls went wrong, of %v", struck, points)
			}
		})
	}
}

func kinds(points []callPoint) int {
	names := map[string]bool{}
	for _, p := range points {
		names[p.name] = true
	}
	return len(names)
}

// sampleOf is surelySampled and some others. It prefers kinds of calls to repetitions of one: a poll is made a hundred times.
func sampleOf(points []callPoint, random *rand.Rand) []callPoint {
	byName := map[string][]callPoint{}
	var names []string
	for _, p := range points {
		if p.name == surelySampled.name {
			continue
		}
		if byName[p.name] == nil {
			names = append(names, p.name)
		}
		byName[p.name] = append(byName[p.name], p)
	}
	chosen := []callPoint{surelySampled}
	for _, i := range random.Perm(len(names))[:min(sampledCalls-1, len(names))] {
		of := byName[names[i]]
		chosen = append(chosen, of[random.IntN(len(of))])
	}
	return chosen
}

// timeoutRun is one order's life.
type timeoutRun struct {
	*timeoutSystem
	timeoutLife
	id event.OrderID
}

// live has one order live through a life, a call of which goes wrong, and checks what came of it.
func (s *timeoutSystem) live(life timeoutLife, p callPoint, how mishap) (points []callPoint, struck bool) {
	s.Helper()
	r := &timeoutRun{s, life, event.OrderID(uuid.Must(uuid.NewV7()).String())}
	began := time.Now()
	s.calls.begin(p, how)
	s.refusing.broken.Store(life.name == "behind a dead letter")
	r.place()
	if life.meanwhile != nil {
		life.meanwhile(r)
	}
	r.isNow(life.status)
	r.rests()
	points, struck = s.calls.end()
	r.check()
	if took := time.Since(began); s.Failed() || struck && took > slowRecovery {
		s.Logf("%s %s: order %s took %s", p, how, r.id, took.Round(time.Millisecond))
	}
	if s.Failed() {
		s.Fatalf("that was with %s: %s", p, how)
	}
	return points, struck
}

// slowRecovery is what is worth telling of.
const slowRecovery = 10 * time.Second

// as is a cause of its own; what is asked again after no answer came is the same request.
func (r *timeoutRun) as(what string) context.Context {
	return event.WithCause(r.Context(), event.Cause{ID: uuid.NewSHA1(uuid.Nil, []byte(what+string(r.id))).String(), CorrelationID: "corr-" + string(r.id), Time: time.Now(), Command: true})
}

// asks repeats a request until it is answered, as a client does.
func (r *timeoutRun) asks(what string, request func() error) {
	r.Helper()
	r.eventually(what, func() (bool, error) {
		err := request()
		if err != nil && !outbox.IsTransient(err) {
			r.Fatalf("%s: %v", what, err)
		}
		return err == nil, err
	})
}

func (r *timeoutRun) place() {
	r.Helper()
	ctx := r.as("place")
	command := order.PlaceOrder{
		CustomerID: "c-1", Currency: "EUR", PaymentMethod: r.method, Contact: &event.Contact{Email: "ada@example.com"},
		Items: []event.Item{{SKU: interleavingSKUs[0], Quantity: r.pieces, UnitPrice: 100}},
	}
	if r.postalCode != "" {
		command.ShippingAddress = &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: r.postalCode, Country: "GB"}
	}
	r.asks("place", func() error { _, err := r.services.Order.Place(ctx, r.id, command); return err })
}

func (r *timeoutRun) cancel() {
	r.Helper()
	ctx := r.as("cancel")
	r.asks("cancel", func() error { _, err := r.services.Order.Cancel(ctx, r.id); return err })
}

func (r *timeoutRun) isNow(status event.OrderStatus) {
	r.Helper()
	r.eventually(string(status), func() (bool, error) {
		now := r.text("SELECT status FROM orders.orders WHERE order_id = $1", r.id)
		return now == string(status), fmt.Errorf("it is %s", now)
	})
}

func (r *timeoutRun) isLettered() { r.Helper(); r.hasLetters(deadletter.New) }
func (r *timeoutRun) isParked()   { r.Helper(); r.hasLetters(deadletter.Parked) }

func (r *timeoutRun) hasLetters(status deadletter.Status) {
	r.Helper()
	r.eventually("a letter is "+string(status), func() (bool, error) {
		n := r.text("SELECT count(*) FROM deadletter.letters WHERE order_id = $1 AND status = $2", r.id, string(status))
		return n != "0", nil
	})
}

// redrive mends the bug and has the letter tried again.
func (r *timeoutRun) redrive() {
	r.Helper()
	r.refusing.broken.Store(false)
	desk := deadletter.NewDesk(r.db, r.marks, "a test")
	r.eventually("it is redriven", func() (bool, error) {
		id := r.text("SELECT id FROM deadletter.letters WHERE order_id = $1 AND status IN ('new', 'retrying') ORDER BY position LIMIT 1", r.id)
		if id == "" { // it has been asked for, and is settled or on its way
			return true, nil
		}
		_, err := desk.Redrive(r.Context(), []string{id}, "mended")
		return err == nil, err
	})
}

// rests waits until nothing more is going to happen to the order: nothing is under way between two looks, and nothing was said
// between them. One look is not enough: what it sees first may have gone on before it sees the rest.
func (r *timeoutRun) rests() {
	r.Helper()
	quietAt := -1 // how long the log was at the last look, if nothing was under way then
	r.eventually("nothing moves", func() (bool, error) {
		left := r.text(`SELECT concat_ws(' ', (SELECT count(*) FROM millrace.outbox), (SELECT count(*) FROM millrace.waits WHERE order_id = $1),
	(SELECT count(*) FROM deadletter.letters WHERE order_id = $1 AND status NOT IN ('resolved', 'dropped')))`, r.id)
		busy := left != "0 0 0"
		for _, s := range timeoutFlow {
			backlog, err := r.bus.Backlog(r.Context(), s.Group(), s.Topics()...)
			r.must(err)
			busy = busy || backlog.Messages > 0
		}
		before, length := quietAt, r.broker.length()
		if quietAt = length; busy {
			quietAt = -1
		}
		return !busy && before == length, fmt.Errorf("outbox, waits, letters: %s", left)
	})
}

// eventually waits for a condition; its error says what is missing.
func (r *timeoutRun) eventually(what string, ok func() (bool, error)) {
	r.Helper()
	tick := time.NewTicker(timeoutLook)
	defer tick.Stop()
	for deadline := time.Now().Add(timeoutPatience); ; <-tick.C {
		done, err := ok()
		switch {
		case done:
			return
		case time.Now().After(deadline):
			r.Fatalf("order %s: not within %s: %s: %v\n%s", r.id, timeoutPatience, what, err, strings.Join(r.story(), "\n"))
		}
	}
}
