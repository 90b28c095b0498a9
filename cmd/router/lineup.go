package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"
)

// lineup runs the parts of the process. They start in the order they were added and stop
// in the opposite one, each when the ones added after it have ended: what takes work in
// stops before what finishes it.
type lineup struct {
	parts []part
	// patience is how long stopping may take, all parts together.
	patience time.Duration
}

type part struct {
	name string
	run  func(context.Context) error
}

func (l *lineup) add(name string, run func(context.Context) error) {
	l.parts = append(l.parts, part{name, run})
}

// run returns when all parts have ended: after ctx has, or because one of them did. What
// does not end in time, because a server it talks to says nothing any more, is left behind:
// nothing is lost by that, for the next start goes on where the database and the broker stand.
func (l *lineup) run(ctx context.Context) error {
	ended := make(chan error, len(l.parts))
	cancels := make([]context.CancelFunc, len(l.parts))
	done := make([]chan struct{}, len(l.parts))
	for i, p := range l.parts {
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
			// A CPU profile tells by the label whose work it was, that of the goroutines the part starts too.
			pprof.SetGoroutineLabels(pprof.WithLabels(partCtx, pprof.Labels("part", p.name)))
			if err := p.run(partCtx); err != nil && !errors.Is(err, context.Canceled) {
				ended <- fmt.Errorf("%s: %w", p.name, err)
				return
			}
			ended <- nil
		}()
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-ended:
	}
	var errs []error
	late := time.After(l.patience)
	for i := len(l.parts) - 1; i >= 0; i-- {
		cancels[i]()
		select {
		case <-done[i]:
			continue
		case <-late:
		}
		for _, cancel := range cancels[:i] {
			cancel()
		}
		errs = append(errs, fmt.Errorf("stop: %s did not end within %s and was left behind", l.parts[i].name, l.patience))
		break
	}
	for range len(l.parts) {
		select {
		case err := <-ended:
			errs = append(errs, err)
		default:
		}
	}
	return errors.Join(append([]error{first}, errs...)...)
}

// closers are closed in the opposite order they were added in.
type closers struct {
	mu   sync.Mutex
	list []func() error
}

func (c *closers) add(f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, f)
}

func (c *closers) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for i := len(c.list) - 1; i >= 0; i-- {
		errs = append(errs, c.list[i]())
	}
	c.list = nil
	return errors.Join(errs...)
}
