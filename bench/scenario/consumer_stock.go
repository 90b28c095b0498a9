package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/bench/rig"
	opponent "millrace/bench/stock"
	"millrace/event"
	"millrace/topic"
)

// stockService is one service of stock Watermill in this process.
type stockService struct {
	*opponent.Parts
	round *rig.Round
	parts *parts
}

func openStock(ctx context.Context, round *rig.Round, settings opponent.Settings, log *slog.Logger) (*stockService, error) {
	p, err := opponent.OpenParts(ctx, round.DSN, round.Brokers, settings, log)
	if err != nil {
		return nil, err
	}
	return &stockService{p, round, newParts()}, nil
}

func (s *stockService) close() error { return errors.Join(s.parts.stop(), s.Close()) }

// forward starts the forwarders, and has each event counted that the broker acknowledged.
func (s *stockService) forward(ctx context.Context, acked *meter) {
	s.parts.start(ctx, "stock Watermill's forwarder", func(ctx context.Context) error {
		return s.Forward(ctx, func(p message.Publisher) message.Publisher { return countedOneByOne{p, acked} })
	})
}

// consume starts the consumer, with the reaction that ours has. Every message passes watch.
func (s *stockService) consume(ctx context.Context, watch message.HandlerMiddleware) {
	s.parts.start(ctx, "stock Watermill's consumer", func(ctx context.Context) error {
		return opponent.Consume(ctx, s.Parts, topic.OrderCreated, func(r *reservation, e event.OrderCreated) []event.Event {
			return []event.Event{r.reserve(e)}
		}, watch)
	})
}

// rows counts the orders that were handled, once the consumer has stopped. It fails if one was handled
// twice.
func (s *stockService) rows(ctx context.Context) (rows int64, err error) {
	var changes, noted int64
	err = s.round.DB.QueryRowContext(ctx, `SELECT count(*), coalesce(sum((state->>'answered')::bigint), 0),
(SELECT count(*) FROM processed) FROM inventory.reservations`).Scan(&rows, &changes, &noted)
	switch {
	case err != nil:
		return 0, fmt.Errorf("count what stock Watermill's consumer handled: %w", err)
	case changes != rows || noted != rows:
		return 0, fmt.Errorf("stock Watermill's consumer changed the rows of %d orders %d times, and noted %d messages", rows, changes, noted)
	}
	return rows, nil
}

const (
	// notePatience is how long the forwarder may take to commit what it has carried: a batch's time.
	notePatience = 10 * time.Second
	notePoll     = 20 * time.Millisecond
)

// awaitNoted waits until the forwarder has noted all that was written as carried. Stopped before, it would
// forget its last batch, and carry it again after the next start.
func (s *stockService) awaitNoted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, notePatience)
	defer cancel()
	poll := time.NewTicker(notePoll)
	defer poll.Stop()
	for {
		written, forwarded, err := s.Outbox(ctx)
		if err != nil || forwarded == written {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the forwarder noted %d of %d rows: %w", forwarded, written, ctx.Err())
		case <-poll.C:
		}
	}
}

// countedOneByOne counts what the broker acknowledged.
type countedOneByOne struct {
	message.Publisher
	acked *meter
}

// Publish is what the forwarder calls.
func (p countedOneByOne) Publish(topic string, messages ...*message.Message) error {
	err := p.Publisher.Publish(topic, messages...)
	if err == nil {
		p.acked.done(len(messages))
	}
	return err
}
