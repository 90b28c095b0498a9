package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// lineup runs the parts of the process. They start in the order they were added and stop
// in the opposite one, each when the ones added after it have ended: what takes work in
// stops before what finishes it.
type lineup struct{ parts []part }

type part struct {
	name string
	run  func(context.Context) error
}

func (l *lineup) add(name string, run func(context.Context) error) {
	l.parts = append(l.parts, part{name, run})
}

// run returns when all parts have ended: after ctx has, or because one of them did.
func (l *lineup) run(ctx context.Context) error {
	ended := make(chan error, len(l.parts))
	cancels := make([]context.CancelFunc, len(l.parts))
	done := make([]chan struct{}, len(l.parts))
	for i, p := range l.parts {
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
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
	for i := len(l.parts) - 1; i >= 0; i-- {
		cancels[i]()
		<-done[i]
	}
	var errs []error
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
