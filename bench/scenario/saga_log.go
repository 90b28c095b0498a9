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

// logged is what a log holds: different events, and how many of them it holds once more than once.
type logged struct{ different, repeats int64 }

// awaitLog waits until the log holds so many different events, for patience at most, and returns what it holds. A relay may send an
// event twice, so the log's length alone does not show that none is missing.
func awaitLog(ctx context.Context, side string, brokers []string, want int64, patience time.Duration) (logged, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return logged{}, fmt.Errorf("read the log's length: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	tick := time.NewTicker(eventsLook)
	defer tick.Stop()
	var found logged
	var length int64 // when it was read last
	for deadline := time.Now().Add(patience); ; {
		names, n, err := logLength(ctx, admin)
		if err == nil && n >= want && n > length {
			if found, err = readLog(ctx, brokers, names); err != nil {
				return found, err
			}
			if length = found.different + found.repeats; found.different >= want {
				return found, nil
			}
		}
		if time.Now().After(deadline) {
			return found, fmt.Errorf("%s lost events: the log's length is %d, want %d different ones; found %d, and %d repeats (%v)",
				side, n, want, found.different, found.repeats, err) //nolint:errorlint // there may be none
		}
		select {
		case <-ctx.Done():
			return found, fmt.Errorf("wait for the events of %s, the log's length is %d, want %d different ones, found %d, and %d repeats: %w",
				side, n, want, found.different, found.repeats, ctx.Err())
		case <-tick.C:
		}
	}
}

// readLog reads the topics one after the other: an event and its repeats are in one topic, and no more than one
// topic's ids are kept at a time.
func readLog(ctx context.Context, brokers, names []string) (all logged, err error) {
	for _, name := range names {
		one, err := inLog(ctx, brokers, name)
		if err != nil {
			return all, err
		}
		all.different += one.different
		all.repeats += one.repeats
	}
	return all, nil
}

// logLength is the number of records in all topics of events, and these topics.
func logLength(ctx context.Context, admin *kadm.Client) (names []string, n int64, err error) {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, eventTopics) {
			names = append(names, name)
		}
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, 0, err
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return names, n, ends.Error()
}
