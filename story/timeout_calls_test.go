package story_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
	"millrace/transport"
)

// mishap is how a call to the outside goes wrong.
type mishap string

const (
	// executed: the call does what it does, and then fails as if it had timed out.
	executed mishap = "executed, and timed out"
	// lost: the call never arrives. Nothing is reported; whoever made it loses patience.
	lost mishap = "lost, and timed out"
)

var mishaps = []mishap{executed, lost}

// errTimedOut is all that a caller ever hears of a mishap.
var errTimedOut = fmt.Errorf("no answer came: %w", context.DeadlineExceeded)

// ownPatience is for clients that give up by themselves, whatever their caller's context allows: those of the
// broker and of the database. Theirs is shortened here, or each of the runs would take their ten seconds.
const ownPatience = 20 * time.Millisecond

// outsideCalls counts the calls that leave the process, by what they are, and has a mishap with one of them.
type outsideCalls struct {
	mu     sync.Mutex
	counts map[string]int
	name   string // of the call that is to go wrong; the nth of that name since begin
	nth    int
	how    mishap
	struck bool
}

// callPoint is one call of a life.
type callPoint struct {
	name string
	nth  int
}

func (p callPoint) String() string { return fmt.Sprintf("call %d of %q", p.nth, p.name) }

// begin starts to count from zero; the given call is to go wrong. The zero callPoint is none.
func (c *outsideCalls) begin(p callPoint, how mishap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts, c.name, c.nth, c.how, c.struck = map[string]int{}, p.name, p.nth, how, false
}

// end tells which calls there were since begin, and whether one went wrong.
func (c *outsideCalls) end() (points []callPoint, struck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		for n := range c.counts[name] {
			points = append(points, callPoint{name, n + 1})
		}
	}
	c.nth = 0
	return points, c.struck
}

// next counts a call and says what goes wrong with it.
func (c *outsideCalls) next(name string) mishap {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		return ""
	}
	c.counts[name]++
	if name != c.name || c.counts[name] != c.nth {
		return ""
	}
	c.struck = true
	return c.how
}

// do makes a call, or what happens instead. Who waits for the answer does so until ctx ends, or for as long as
// patience, if that is not zero.
func (c *outsideCalls) do(ctx context.Context, name string, patience time.Duration, call func() error) error {
	switch c.next(name) {
	case executed:
		if err := call(); err != nil { // it failed anyway
			return err
		}
		return errTimedOut
	case lost:
		var enough <-chan time.Time
		if patience > 0 {
			enough = time.After(patience)
		}
		select {
		case <-ctx.Done():
		case <-enough:
		}
		return errTimedOut
	}
	return call()
}

// answered is do for calls with an answer.
func answered[T any](ctx context.Context, c *outsideCalls, name string, call func() (T, error)) (answer T, err error) {
	err = c.do(ctx, name, 0, func() error { answer, err = call(); return err })
	if errors.Is(err, errTimedOut) {
		var none T
		return none, err
	}
	return answer, err
}

// callsToProvider, callsToCarrier and callsToSender are the three of the outside. The last two keep books that are for one
// goroutine.
type callsToProvider struct {
	*outsideCalls
	next payment.Gateway
}

func (p callsToProvider) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	return answered(ctx, p.outsideCalls, "provider: charge", func() (payment.Result, error) { return p.next.Charge(ctx, r) })
}

func (p callsToProvider) Find(ctx context.Context, r payment.Request) (payment.Result, error) {
	return answered(ctx, p.outsideCalls, "provider: find", func() (payment.Result, error) { return p.next.Find(ctx, r) })
}

func (p callsToProvider) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	return answered(ctx, p.outsideCalls, "provider: void", func() (payment.Result, error) { return p.next.Void(ctx, r) })
}

func (p callsToProvider) Refund(ctx context.Context, r payment.Request) (payment.Result, error) {
	return answered(ctx, p.outsideCalls, "provider: refund", func() (payment.Result, error) { return p.next.Refund(ctx, r) })
}

type callsToCarrier struct {
	*outsideCalls
	mu   *sync.Mutex
	next *interleavingCarrier
}

func (c callsToCarrier) ask(ctx context.Context, name string, p shipping.Parcel, call func(context.Context, shipping.Parcel) (shipping.Report, error)) (shipping.Report, error) {
	return answered(ctx, c.outsideCalls, name, func() (shipping.Report, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return call(ctx, p)
	})
}

func (c callsToCarrier) Book(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.ask(ctx, "carrier: book", p, c.next.Book)
}

func (c callsToCarrier) Track(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.ask(ctx, "carrier: track", p, c.next.Track)
}

func (c callsToCarrier) Stop(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.ask(ctx, "carrier: stop", p, c.next.Stop)
}

func (c callsToCarrier) Recall(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.ask(ctx, "carrier: recall", p, c.next.Recall)
}

// bookings is how often the carrier took a parcel of an order.
func (c callsToCarrier) bookings(id event.OrderID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if parcel := c.next.parcels[id]; parcel != nil {
		return len(parcel.bookings)
	}
	return 0
}

type callsToSender struct {
	*outsideCalls
	mu   *sync.Mutex
	next *interleavingSender
}

func (s callsToSender) Send(ctx context.Context, m notification.Message) (time.Time, error) {
	return answered(ctx, s.outsideCalls, "sender: "+string(m.Channel), func() (time.Time, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.next.Send(ctx, m)
	})
}

// sent lists the keys under which notices of an order went out.
func (s callsToSender) sent(id event.OrderID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.next.sent {
		if strings.HasPrefix(key, string(id)+"/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// callsToBroker is the relay's publisher. It keeps what the log really took.
type callsToBroker struct {
	*outsideCalls
	message.Publisher
	mu  sync.Mutex
	log []transport.Record
}

// PublishBatch implements transport.BatchPublisher.
func (b *callsToBroker) PublishBatch(ctx context.Context, records []transport.Record) []error {
	errs := make([]error, len(records))
	err := b.do(ctx, "relay: publish", ownPatience, func() error {
		errs = b.Publisher.(transport.BatchPublisher).PublishBatch(ctx, records)
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, r := range records {
			if errs[i] == nil {
				b.log = append(b.log, r)
			}
		}
		return nil
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// of is what the log has of one order.
func (b *callsToBroker) of(id event.OrderID) (records []transport.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.log {
		if string(r.Key) == string(id) {
			records = append(records, r)
		}
	}
	return records
}

func (b *callsToBroker) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.log)
}
