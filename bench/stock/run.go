package stock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// run runs all parts until ctx ends or one of them fails, and then ends the others.
func (s *shop) run(ctx context.Context, c Config, listener net.Listener, router, forwarders *message.Router, groups map[string]int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var parts sync.WaitGroup
	failures := make(chan error, 6) // one for each part
	part := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			defer stop()
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				failures <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	part("forwarders", forwarders.Run)
	part("handlers", router.Run)
	part("poller", s.poller.run)
	part("provider", s.provider.Run)
	part("http", func(ctx context.Context) error { return s.serve(ctx, c, listener) })
	part("readiness", func(ctx context.Context) error {
		if err := whenAssigned(ctx, c.Brokers, groups); err != nil {
			return err
		}
		s.ready.Store(true)
		if c.Ready != nil {
			c.Ready("http://" + c.Listen)
		}
		<-ctx.Done()
		return nil
	})
	parts.Wait()
	close(failures)
	var err error
	for failure := range failures {
		err = errors.Join(err, failure)
	}
	return err
}

// assignedInterval is how often the groups are looked at during the start.
const assignedInterval = 100 * time.Millisecond

func whenAssigned(ctx context.Context, brokers []string, groups map[string]int) error {
	for {
		assigned, err := allAssigned(brokers, groups)
		if err != nil || assigned {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(assignedInterval):
		}
	}
}
