package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// Backlog implements transport.Transport. Partitions the group never committed
// count from their start. It costs three requests, and a short-lived connection that
// reads one record of each partition that lags.
func (a *Admin) Backlog(ctx context.Context, group string, topics ...string) (transport.Backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		backlog, err := a.backlog(ctx, group, topics)
		if err == nil {
			return backlog, nil
		}
		// A cluster that has just started, or lost a broker, looks for a coordinator.
		var refusal *kerr.Error
		if errors.As(err, &refusal) && refusal.Retriable {
			select {
			case <-time.After(retryInterval):
				continue
			case <-ctx.Done():
			}
		}
		return transport.Backlog{}, fmt.Errorf("kafka: backlog of group %s: %w", group, err)
	}
}

func (a *Admin) backlog(ctx context.Context, group string, topics []string) (transport.Backlog, error) {
	var backlog transport.Backlog
	if len(topics) == 0 {
		return backlog, nil
	}
	// The committed offsets first: asked for after the ends, they could be ahead of them.
	committed, err := a.client.FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return backlog, err
	}
	starts, err := a.client.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return backlog, err
	}
	ends, err := a.client.ListCommittedOffsets(ctx, topics...) // up to an open transaction: that is how far a subscriber gets
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return backlog, err
	}
	lagging := map[string]map[int32]kgo.Offset{}
	var failed error
	ends.Each(func(end kadm.ListedOffset) {
		at := int64(0)
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			at = start.Offset
		}
		if c, ok := committed.Lookup(end.Topic, end.Partition); ok {
			failed = errors.Join(failed, c.Err)
			at = max(at, c.At) // what retention deleted cannot be waited for
		}
		if end.Offset <= at {
			return
		}
		backlog.Messages += end.Offset - at
		if lagging[end.Topic] == nil {
			lagging[end.Topic] = map[int32]kgo.Offset{}
		}
		lagging[end.Topic][end.Partition] = kgo.NewOffset().At(at)
	})
	if failed != nil || len(lagging) == 0 {
		return backlog, failed
	}
	backlog.Oldest, err = a.oldest(ctx, lagging)
	return backlog, err
}

// oldest reads the first record at each of the offsets and returns the earliest time.
func (a *Admin) oldest(ctx context.Context, at map[string]map[int32]kgo.Offset) (time.Time, error) {
	client, err := a.config.client(
		kgo.ConsumePartitions(at),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),      // they may be all that is left
		kgo.FetchMaxPartitionBytes(1), // a broker gives one batch all the same
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return time.Time{}, err
	}
	defer client.Close()
	open := map[place]bool{}
	for topic, partitions := range at {
		for n := range partitions {
			open[place{topic, n}] = true
		}
	}
	var oldest time.Time
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return time.Time{}, fmt.Errorf("read the oldest record: %w", err)
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) == 0 || !open[place{f.Topic, f.Partition}] {
				return
			}
			delete(open, place{f.Topic, f.Partition})
			if t := f.Records[0].Timestamp; oldest.IsZero() || t.Before(oldest) {
				oldest = t
			}
		})
	}
	return oldest, nil
}
