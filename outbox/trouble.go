package outbox

import (
	"context"
	"log/slog"
	"time"
)

// trouble logs when something that is tried again and again begins to fail, and
// when it works again. What is in between would say nothing new.
// It is not safe for use by several goroutines.
type trouble struct {
	log   *slog.Logger
	what  string // what is tried: "the relay reads the outbox"
	since time.Time
	tries int
}

// note takes the result of one try.
func (t *trouble) note(ctx context.Context, err error) {
	switch {
	case err != nil && ctx.Err() != nil: // a shutdown is not an error
	case err != nil:
		if t.tries == 0 {
			t.since = time.Now()
			t.log.WarnContext(ctx, t.what+": failing, trying again until it works", "error", err)
		}
		t.tries++
	case t.tries > 0:
		t.log.InfoContext(ctx, t.what+": works again", "failed_for", time.Since(t.since).Round(time.Millisecond), "tries", t.tries)
		t.tries = 0
	}
}

// pause waits for d, or until wake or ctx; a nil wake never wakes. It tells whether it was woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
