package chaos

import (
	"sync"
	"time"
)

// fineAfter is how long after the last fault the weather is fine again: connections are made anew, and what waited
// has been answered.
const fineAfter = 10 * time.Second

// trouble knows whether something is broken. The zero value: nothing ever was.
type trouble struct {
	mu     sync.Mutex
	active int
	healed time.Time // when the last one was
}

func (t *trouble) begins() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active++
}

func (t *trouble) ends() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active--
	t.healed = time.Now()
}

// none tells whether nothing is broken, and everything had been whole for fineAfter by that moment.
func (t *trouble) none(since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active == 0 && since.Sub(t.healed) > fineAfter
}
