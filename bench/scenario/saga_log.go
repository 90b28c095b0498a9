package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// eventsPerOrder is what an order of the load comes to when all goes well: each status of order and
	// parcel, what the services tell each other on the way, and a notice for each step by e-mail.
	eventsPerOrder = 18
	// eventsPatience is how long the last events may take to the log.
	eventsPatience = time.Minute
	eventsLook     = 50 * time.Millisecond
	// eventTopics begin like this.
	eventTopics = "ecommerce."
)

// awaitLog waits until the log holds so many events, and returns how many it holds: more are repeats.
func awaitLog(ctx context.Context, side string, brokers []string, want int64) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return 0, fmt.Errorf("read the log's length: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(ctx, eventsPatience)
	defer cancel()
	tick := time.NewTicker(eventsLook)
	defer tick.Stop()
	for {
		n, err := logLength(ctx, admin)
		if err == nil && n >= want {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s lost events: the log holds %d, want %d (%v)", side, n, want, err)
		case <-tick.C:
		}
	}
}

// logLength is the number of events in all topics.
func logLength(ctx context.Context, admin *kadm.Client) (n int64, err error) {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, eventTopics) {
			names = append(names, name)
		}
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return 0, err
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, ends.Error()
}
