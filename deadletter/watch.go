package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// watchEvery is how soon every process knows that a service was paused or resumed.
	watchEvery = time.Second
	// countShare bounds what counting costs, of one connection's time: the pause between two counts is so many times
	// as long as the count. With few letters there is one a second; a million take about a second each.
	countShare = 50
	// maxCounted is how many messages are counted; there are hardly ever more (see maxOpen).
	maxCounted = 2 * maxOpen
)

// Depth is how much of a service waits. It is counted each second, and more rarely when there is much.
type Depth struct {
	// Letters wait for somebody, or to be tried again; Parked messages wait behind them.
	Letters, Parked int64
	// OldestAge is how long the oldest letter has been waiting; 0 if there is none.
	OldestAge time.Duration
}

// watch is what Run knows.
type watch struct {
	log *slog.Logger

	mu      sync.Mutex
	depth   Depth
	count   time.Time // when depth is to be counted again
	pause   *Pause
	resumed chan struct{} // closed when pause ends
}

func (w *watch) paused(p Pause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pause == nil {
		w.pause, w.resumed = &p, make(chan struct{})
	}
}

// goOn ends a pause, if it is still the same one. What led to it is forgotten before the first message goes on.
func (w *watch) goOn(ended *Pause, forget func()) (was bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pause == nil || w.pause != ended {
		return false
	}
	forget()
	close(w.resumed)
	w.pause, w.resumed = nil, nil
	return true
}

// Depth is how much waited at the last count.
func (p *Parking) Depth() Depth {
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	return p.watch.depth
}

// Paused tells whether the service takes messages, and why not.
func (p *Parking) Paused() (Pause, bool) {
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	if p.watch.pause == nil {
		return Pause{}, false
	}
	return *p.watch.pause, true
}

// Await returns when the service takes messages: at once, nearly always. It fails when ctx ends.
func (p *Parking) Await(ctx context.Context) error {
	p.watch.mu.Lock()
	resumed := p.watch.resumed
	p.watch.mu.Unlock()
	if resumed == nil {
		return nil
	}
	select {
	case <-resumed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run watches over what waits until ctx ends: whether the service is paused, how much there is; and removes
// what was settled long ago.
func (p *Parking) Run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var tidied time.Time
	trouble := false
	for {
		err := p.look(ctx)
		if err == nil && time.Since(tidied) > tidyEvery {
			var more bool
			if more, err = p.tidy(ctx); err == nil && !more {
				tidied = time.Now()
			}
		}
		if err != nil && !trouble && ctx.Err() == nil {
			p.watch.log.WarnContext(ctx, "the dead letters cannot be looked at; still trying", "service", p.service, "error", err)
		}
		trouble = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look finds out whether the service is paused, and counts if it is time to.
func (p *Parking) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	p.watch.mu.Lock()
	before := p.watch.pause // one that begins during the look cannot have been ended by what the look finds
	p.watch.mu.Unlock()
	now := Pause{Service: p.service}
	err := p.db.QueryRowContext(ctx, "SELECT fingerprint, error, since FROM deadletter.pauses WHERE service = $1 AND resumed_at IS NULL", p.service).
		Scan(&now.Fingerprint, &now.Error, &now.Since)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if p.watch.goOn(before, p.flood.reset) {
			p.watch.log.InfoContext(ctx, "the service takes messages again", "service", p.service)
		}
	case err != nil:
		return fmt.Errorf("look whether %s is paused: %w", p.service, err)
	default:
		p.watch.paused(now)
	}
	return p.count(ctx)
}

const countOpen = `SELECT count(*) FILTER (WHERE status <> 'parked'), count(*) FILTER (WHERE status = 'parked'),
	coalesce(extract(epoch FROM now() - min(first_failed_at) FILTER (WHERE status <> 'parked')), 0)::float8
FROM (SELECT status, first_failed_at FROM deadletter.letters WHERE service = $1 AND ` + open + ` LIMIT $2) AS l`

func (p *Parking) count(ctx context.Context) error {
	began := time.Now()
	p.watch.mu.Lock()
	due := !began.Before(p.watch.count)
	p.watch.mu.Unlock()
	if !due {
		return nil
	}
	var d Depth
	var age float64
	err := p.db.QueryRowContext(ctx, countOpen, p.service, maxCounted).Scan(&d.Letters, &d.Parked, &age)
	d.OldestAge = max(time.Duration(age*float64(time.Second)), 0)
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	p.watch.count = began.Add(countShare * time.Since(began))
	if err != nil {
		return fmt.Errorf("count the letters of %s: %w", p.service, err)
	}
	p.watch.depth = d
	return nil
}

// The metrics of what waits.
var (
	lettersDesc = prometheus.NewDesc("millrace_letters", "Dead letters that wait for somebody, or to be tried again, by service.", []string{"service"}, nil)
	parkedDesc  = prometheus.NewDesc("millrace_messages_parked", "Messages that wait behind a dead letter of their order, by service.", []string{"service"}, nil)
	oldestDesc  = prometheus.NewDesc("millrace_letters_oldest_age_seconds", "How long the oldest dead letter has been waiting, by service; 0 if there is none.", []string{"service"}, nil)
	pausedDesc  = prometheus.NewDesc("millrace_service_paused", "1 while a service takes no messages because too many failed alike.", []string{"service"}, nil)
)

var _ prometheus.Collector = (*Parking)(nil)

// Describe implements prometheus.Collector: it names no metric, so that each service can have a collector.
func (p *Parking) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *Parking) Collect(metrics chan<- prometheus.Metric) {
	d := p.Depth()
	paused := 0.0
	if _, is := p.Paused(); is {
		paused = 1
	}
	for desc, value := range map[*prometheus.Desc]float64{
		lettersDesc: float64(d.Letters), parkedDesc: float64(d.Parked), oldestDesc: d.OldestAge.Seconds(), pausedDesc: paused,
	} {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, p.service)
	}
}
