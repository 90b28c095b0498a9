package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// checkTimeout is less than the second that probes usually wait.
	checkTimeout = 800 * time.Millisecond
	// checkCache keeps probes from becoming load of their own. A failure is kept for less: somebody waits for its end.
	checkCache, failureCache = time.Second, 50 * time.Millisecond
)

// Check tells whether one thing this process needs is there; an error says what is
// wrong, to an operator. It gets 800 ms. Its result is kept for a second, an error for 50 ms, and it never
// runs twice at a time, however many ask.
type Check func(ctx context.Context) error

// readiness answers /readyz.
type readiness struct {
	names  []string
	checks map[string]*cached
	notes  map[string]func() string
}

func newReadiness(checks map[string]Check, notes map[string]func() string) *readiness {
	r := &readiness{names: slices.Sorted(maps.Keys(checks)), checks: map[string]*cached{}, notes: notes}
	for name, check := range checks {
		r.checks[name] = &cached{check: check}
	}
	return r
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	results := make([]error, len(r.names))
	var done sync.WaitGroup
	for i, name := range r.names {
		done.Go(func() { results[i] = r.checks[name].result() })
	}
	done.Wait()

	var lines, failed []string
	for i, name := range r.names {
		if err := results[i]; err != nil {
			failed = append(failed, name)
			lines = append(lines, fmt.Sprintf("[-] %s: %v", name, err))
		} else {
			lines = append(lines, "[+] "+name+": ok")
		}
	}
	status, verdict := http.StatusOK, "ready"
	if len(failed) > 0 {
		status, verdict = http.StatusServiceUnavailable, "not ready: "+strings.Join(failed, ", ")
	}
	if request.URL.Query().Has("verbose") {
		for _, name := range slices.Sorted(maps.Keys(r.notes)) {
			lines = append(lines, "[i] "+name+": "+r.notes[name]())
		}
		verdict = strings.Join(append(lines, verdict), "\n")
	}
	writeText(w, status, verdict+"\n")
}

// cached runs a check at most once per checkCache, or per failureCache.
type cached struct {
	check Check

	mu      sync.Mutex
	at      time.Time
	err     error
	running chan struct{} // closed when the run under way ends; nil if there is none
}

// result waits for the run under way, or a new one, but no longer than checkTimeout. The run
// has a context of its own, so that a probe that leaves does not fail it for the others.
func (c *cached) result() error {
	c.mu.Lock()
	if c.running == nil {
		keep := checkCache
		if c.err != nil {
			keep = failureCache
		}
		if !c.at.IsZero() && time.Since(c.at) < keep {
			defer c.mu.Unlock()
			return c.err
		}
		c.running = make(chan struct{})
		go c.run(c.running)
	}
	running := c.running
	c.mu.Unlock()

	select {
	case <-running:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	case <-time.After(checkTimeout):
		return fmt.Errorf("no answer within %s", checkTimeout)
	}
}

func (c *cached) run(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	err := c.call(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.err, c.running = time.Now(), err, nil
	close(done)
}

func (c *cached) call(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return c.check(ctx)
}
