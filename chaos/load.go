package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// placing is how many requests may be under way at once; what comes beyond waits. A system that stands still for
	// seconds is met by so many at once when it goes on.
	placing = 128
	// requestPatience is longer than a router's REQUEST_TIMEOUT, so that as a rule the router answers first.
	requestPatience = 20 * time.Second
	// retryFirst and retryLongest bound the waits before a request is sent again.
	retryFirst, retryLongest = 50 * time.Millisecond, time.Second
	// restockEvery is how often somebody adds a piece of each article in turn.
	restockEvery = 500 * time.Millisecond
	// lastAnswers is how long requests that have had no answer go on being sent after everything is healed.
	lastAnswers = 30 * time.Second
)

// load is what customers, operators, provider and carrier do, from a seed.
type load struct {
	seed     uint64
	rate     float64
	hot      bool
	replicas []*replica
	client   *http.Client
	slots    chan struct{}
	trouble  *trouble
	running  sync.WaitGroup
	placed   atomic.Int64
	again    atomic.Int64 // requests that were sent again
	file     *os.File     // the ids of accepted orders

	mu        sync.Mutex
	accepted  int
	last      *order          // the last of them that has a key
	sound     map[string]bool // accepted orders that nothing but the system can delay
	surprises []string        // answers that nobody may get
}

func newLoad(seed uint64, s Scenario, y *system, t *trouble) (*load, error) {
	file, err := os.Create(filepath.Join(y.dir, acceptedFile))
	if err != nil {
		return nil, fmt.Errorf("note what is accepted: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = placing, placing
	return &load{seed: seed, rate: s.Rate, hot: s.HotStock > 0, replicas: y.replicas, file: file, slots: make(chan struct{}, placing), trouble: t, sound: map[string]bool{},
		client: &http.Client{Transport: transport, Timeout: requestPatience}}, nil
}

// run places orders at its rate until placing ends, and goes on with what follows them until ctx ends.
func (l *load) run(ctx, placing context.Context) {
	l.running.Go(func() { l.restock(ctx, placing) })
	tick := time.NewTicker(time.Duration(float64(time.Second) / l.rate))
	defer tick.Stop()
	for number := 0; ; number++ {
		select {
		case <-placing.Done():
			return
		case <-tick.C:
		}
		select {
		case <-placing.Done():
			return
		case l.slots <- struct{}{}:
		}
		o := newOrder(l.seed, number, l.hot)
		l.placed.Add(1)
		l.running.Go(func() { l.live(ctx, o) })
	}
}

// live is an order's life outside of the system.
func (l *load) live(ctx context.Context, o *order) {
	err := l.place(ctx, o)
	<-l.slots
	if err != nil || o.id == "" {
		l.surprised(err)
		return
	}
	began := time.Now()
	for _, f := range o.follows { // one after the other, as late as they come
		if !sleep(ctx, f.after-time.Since(began)) {
			return
		}
		l.surprised(f.what(ctx, l, o))
	}
}

// wait returns when nobody has anything to do any more, or ctx, run's, has ended.
func (l *load) wait() { l.running.Wait() }

func (l *load) close() {
	l.client.CloseIdleConnections()
	_ = l.file.Close() // each line was written through
}

func (l *load) accept(o *order) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted++
	if o.key != "" {
		l.last = o
	}
	if o.sound {
		l.sound[o.id] = true
	}
	_, err := fmt.Fprintln(l.file, o.id)
	return err
}

// soundOrders are the ids of accepted orders that nothing but the system can delay.
func (l *load) soundOrders() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.sound))
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// mostSurprises bounds what is kept of answers that nobody may get.
const mostSurprises = 20

// surprised keeps an answer that nobody may get. That a system under faults has no answer is none.
func (l *load) surprised(err error) {
	if err == nil || errors.Is(err, errNoAnswer) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.surprises) < mostSurprises {
		l.surprises = append(l.surprises, err.Error())
	}
}

// sleep waits, and tells whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
