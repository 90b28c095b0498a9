package deadlettertest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Process is what runs of the service in one process: its store, and whoever handles what is redriven.
type Process struct {
	tb testing.TB
	// Alive ends with the process.
	Alive context.Context
	// Stop ends Alive, and with it the store.
	Stop    context.CancelFunc
	running sync.WaitGroup
}

// Start runs a store until the test is over, or until somebody stops it.
func Start(tb testing.TB, store *Store) *Process {
	tb.Helper()
	p := &Process{tb: tb}
	p.Alive, p.Stop = context.WithCancel(context.Background())
	p.Go(func() { _ = store.Run(p.Alive) })
	tb.Cleanup(func() {
		p.Stop()
		p.running.Wait()
	})
	return p
}

// Go runs do as a part of the process: the end of the test waits for it.
func (p *Process) Go(do func()) { p.running.Go(do) }

// Redrive hands each message of the topics to handle, side by side, until the test is over; the redriver is closed first.
func (p *Process) Redrive(redriver message.Subscriber, handle func(*message.Message), topics ...string) {
	p.tb.Helper()
	p.tb.Cleanup(func() { _ = redriver.Close() })
	for _, topic := range topics {
		messages, err := redriver.Subscribe(context.Background(), topic)
		if err != nil {
			p.tb.Fatalf("subscribe to what is redriven of %s: %v", topic, err)
		}
		p.Go(func() {
			for msg := range messages {
				p.Go(func() {
					handle(msg)
					msg.Ack()
				})
			}
		})
	}
}

// Log writes what processes have to say into the test's own output, which is shown when it fails.
func Log(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), nil))
}
