package perkey

import (
	"math/rand/v2"
	"time"
)

// Backoff is the wait before a message that was refused with a Nack comes again.
// It doubles with each attempt, up to sixteen times itself.
type Backoff time.Duration

// DefaultBackoff suits handlers behind a retry middleware: a Nack is rare then,
// and means that something stays broken for a while.
const DefaultBackoff = Backoff(100 * time.Millisecond)

const maxDoublings = 4

// after is how long to wait when the attempt of that number was refused. A fifth
// of it is left to chance, so that what failed together does not return together.
func (b Backoff) after(attempt int) time.Duration {
	d := time.Duration(b) << min(attempt-1, maxDoublings)
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}
