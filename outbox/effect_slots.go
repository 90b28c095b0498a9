package outbox

import (
	"sync"
	"time"
)

// slots bounds the calls in flight, those that are promised included.
type slots struct {
	mu      sync.Mutex
	unused  int
	most    int
	refused bool // somebody wanted more: tell when there is a place again
	running bool
	closed  bool
	idle    chan struct{} // closed when the executor was told to stop and no place is used any more
	quiet   sync.Once
	calls   sync.WaitGroup
}

func newSlots(n int) slots { return slots{unused: n, most: n, idle: make(chan struct{})} }

// keepFree is the share of places, one in that many, that new effects leave to waits
// found in the table: however many new orders come, old ones go on.
const keepFree = 4

func (s *slots) reserve(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return 0
	}
	granted := max(0, min(n, s.unused-s.most/keepFree))
	s.unused -= granted
	s.refused = s.refused || granted < n
	return granted
}

// take takes places for waits from the table: no more than new effects leave free.
func (s *slots) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(1, s.most/keepFree), s.unused)
	s.unused -= n
	s.refused = s.refused || n == 0
	return n
}

// putBack returns what take took in vain. more means that it was not enough.
func (s *slots) putBack(n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unused += n
	s.refused = s.refused || more
}

// give returns places; true if somebody had been refused one.
func (s *slots) give(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unused += n
	if !s.running && s.unused == s.most {
		s.quiet.Do(func() { close(s.idle) })
	}
	refused := s.refused
	s.refused = false
	return refused
}

func (s *slots) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unused
}

// begin runs call, which has a place, in the background; false after close.
func (s *slots) begin(call func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Go(call)
	return true
}

func (s *slots) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

func (s *slots) open() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
}

// close waits until no place is used, for patience at most; then it cancels what is left.
func (s *slots) close(patience time.Duration, cancel func()) {
	s.mu.Lock()
	s.running = false
	quiet := s.unused == s.most
	s.mu.Unlock()
	if !quiet {
		timer := time.NewTimer(patience)
		select {
		case <-s.idle:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	cancel()
	s.calls.Wait()
}
