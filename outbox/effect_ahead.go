package outbox

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// maxAhead is how many claims an executor keeps until they are due: some 2 MB. Beyond it waits are
// found in the table when they are due, as those of other processes are.
const maxAhead = 16_384

// ahead keeps waits that were claimed by the transaction that wrote them, until they are due: so
// the table need not be searched for them. A claim's lease begins when it is due. Should the
// process die, its claims are freed with the others of the dead.
type ahead[S any] struct {
	mu    sync.Mutex
	waits earliest
}

func (a *ahead[S]) room() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(0, maxAhead-len(a.waits))
}

func (a *ahead[S]) add(list []Claim[S]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range list {
		heap.Push(&a.waits, c.claimed())
	}
}

// putBack returns what due removed.
func (a *ahead[S]) putBack(list []claimed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range list {
		heap.Push(&a.waits, c)
	}
}

// due removes what is due by now, the first first.
func (a *ahead[S]) due(now time.Time) (list []claimed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.waits) > 0 && !a.waits[0].since.After(now) {
		list = append(list, heap.Pop(&a.waits).(claimed))
	}
	return list
}

// earliest is a heap by due time.
type earliest []claimed

func (h earliest) Len() int           { return len(h) }
func (h earliest) Less(i, j int) bool { return h[i].since.Before(h[j].since) }
func (h earliest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *earliest) Push(c any)        { *h = append(*h, c.(claimed)) }
func (h *earliest) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}

// startAhead makes the calls of waits claimed ahead that are due and have a place; the others are
// kept for the next look.
func (e *Executor[S]) startAhead() {
	list := e.ahead.due(e.clock.now())
	if len(list) == 0 {
		return
	}
	n := e.slots.reserve(len(list))
	e.ahead.putBack(list[n:])
	if n > 0 && !e.slots.begin(func() { e.runAhead(list[:n]) }) {
		e.give(n)
	}
}

// runAhead makes the calls of claims that still stand: a wait may have ended before it was due,
// and may even have begun anew, as another one.
func (e *Executor[S]) runAhead(list []claimed) {
	// So late that a claim may end before its call does, it is left to the table.
	for len(list) > 0 && e.clock.now().Sub(list[0].since) > e.lease/leaseShare {
		list = list[1:]
		e.give(1)
	}
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.calls, e.opts.CallTimeout)
	defer cancel()
	standing, err := e.waits.standing(ctx, list)
	if err != nil { // the look at the table that comes next tells
		e.ahead.putBack(list)
	}
	e.give(len(list) - len(standing))
	e.runAll(standing)
}
