package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// floodWindow is the minute in which letters are counted.
const floodWindow = time.Minute

// maxFingerprints bounds the kinds of failure that are counted: beyond it the count begins anew.
const maxFingerprints = 10_000

// flood counts the letters of each kind.
type flood struct {
	limit int

	mu    sync.Mutex
	began time.Time
	count map[string]int
}

// add counts a letter. It tells whether that makes it a flood.
func (f *flood) add(fingerprint string, now time.Time) bool {
	if f.limit == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil || now.Sub(f.began) > floodWindow || len(f.count) > maxFingerprints {
		f.began, f.count = now, map[string]int{}
	}
	f.count[fingerprint]++
	return f.count[fingerprint] > f.limit
}

// takeBack is for what was counted and did not become a letter.
func (f *flood) takeBack(fingerprint string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[fingerprint] > 0 {
		f.count[fingerprint]--
	}
}

func (f *flood) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count = nil
}

// ErrPaused means: the service takes no messages until somebody resumes it.
var ErrPaused = errors.New("the service is paused (router dlq resume)")

// pause stops the service everywhere, and says ErrPaused. letters is how many were too many.
func (p *Parking) pause(ctx context.Context, why Pause, letters int64) error {
	if _, is := p.Paused(); is { // what was under way; if somebody has resumed it just now, it is not to be paused for that
		return ErrPaused
	}
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	result, err := p.db.ExecContext(ctx, `INSERT INTO deadletter.pauses (service, fingerprint, error, letters) VALUES ($1, $2, $3, $4)
ON CONFLICT (service) WHERE resumed_at IS NULL DO NOTHING`, p.service, why.Fingerprint, why.Error, letters)
	if err != nil {
		return fmt.Errorf("pause %s (%s): %w", p.service, why.Error, err)
	}
	why.Service, why.Since = p.service, time.Now()
	p.watch.paused(why)
	if n, err := result.RowsAffected(); err == nil && n > 0 {
		p.watch.log.ErrorContext(ctx, "the service is paused: too many messages failed; mend it, then: router dlq resume "+p.service,
			"service", p.service, "group", why.Fingerprint, "letters", letters, "error", why.Error)
	}
	return ErrPaused
}
