package scenario

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/verify"
)

// verified ends a round of ours with what router verify looks at: a figure of a system that lost or doubled
// something would be worth nothing. orders is how many were placed.
func (s *running) verified(ctx context.Context, brokers []string, orders int) error {
	report, err := verify.RunAtRest(ctx, verify.Options{
		Databases: []verify.Database{{DB: s.shop.DB}}, Kafka: []kgo.Opt{kgo.SeedBrokers(brokers...)}, Patience: paymentDeadline + orderDeadline,
	}, eventsPatience)
	if err != nil {
		return fmt.Errorf("verify what became of the orders: %w", err)
	}
	if report.OK && report.Counts.Orders == int64(orders) {
		return nil
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		return fmt.Errorf("print what verify found: %w", err)
	}
	return fmt.Errorf("%s is wrong at the end; %d orders were placed, and verify says:\n%s", s.name, orders, text.String())
}
