package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

const (
	// scanPatience is how long a scan waits for the next records of those that are there. A broker that is well has
	// them at once.
	scanPatience = 30 * time.Second
	// scanWait is how long the broker may hold back an answer without records.
	scanWait = 500 * time.Millisecond
)

// Scan calls do for each record that lies in the topics when it begins, from the given time on; a zero time
// is the beginning. Records of one partition come in their order, those of several mixed. What an open or
// aborted transaction wrote is left out. No group is joined, and no offset committed. Memory holds what is being
// fetched, and nothing else. Scan stops when do fails, and returns its error.
func (a *Admin) Scan(ctx context.Context, topics []string, since time.Time, do func(transport.LogRecord) error) error {
	from, last, err := a.span(ctx, topics, since)
	if err != nil {
		return fmt.Errorf("kafka: read %s: %w", strings.Join(topics, ", "), err)
	}
	if len(last) == 0 {
		return nil
	}
	client, err := a.reader(from)
	if err != nil {
		return err
	}
	defer client.Close()
	for len(last) > 0 {
		if err := poll(ctx, client, last, do); err != nil {
			return err
		}
	}
	return nil
}

// ReadAt returns the record at a place, or transport.ErrNoRecord.
func (a *Admin) ReadAt(ctx context.Context, topic string, partition int32, offset int64) (transport.LogRecord, error) {
	var found transport.LogRecord
	fail := func(err error) (transport.LogRecord, error) {
		return found, fmt.Errorf("kafka: read %s/%d@%d: %w", topic, partition, offset, err)
	}
	from, last, err := a.span(ctx, []string{topic}, time.Time{})
	if err != nil {
		return fail(err)
	}
	p := place{topic, partition}
	if end, ok := last[p]; !ok || offset > end || offset < from[topic][partition].EpochOffset().Offset {
		return fail(transport.ErrNoRecord)
	}
	client, err := a.reader(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}})
	if err != nil {
		return fail(err)
	}
	defer client.Close()
	errFound := errors.New("found")
	for only := map[place]int64{p: last[p]}; len(only) > 0; {
		err := poll(ctx, client, only, func(r transport.LogRecord) error {
			if r.Offset != offset {
				return transport.ErrNoRecord // one behind it: compaction, or a marker of a transaction
			}
			found = r
			return errFound
		})
		switch {
		case errors.Is(err, errFound):
			return found, nil
		case err != nil:
			return fail(err)
		}
	}
	return fail(transport.ErrNoRecord)
}

// Partitions tells how many partitions a topic has; an error where there is no such topic.
func (a *Admin) Partitions(ctx context.Context, topic string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	starts, err := a.client.ListStartOffsets(ctx, topic)
	if err == nil {
		err = listed(starts)
	}
	if err != nil {
		return 0, fmt.Errorf("kafka: count the partitions of %s: %w", topic, err)
	}
	return len(starts[topic]), nil
}

// span is what lies in the topics now: where to begin in each partition that has records, and its last offset.
func (a *Admin) span(ctx context.Context, topics []string, since time.Time) (from map[string]map[int32]kgo.Offset, last map[place]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var starts kadm.ListedOffsets
	if since.IsZero() {
		starts, err = a.client.ListStartOffsets(ctx, topics...)
	} else {
		starts, err = a.client.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topics...)
	}
	if err == nil {
		err = listed(starts)
	}
	if err != nil {
		return nil, nil, err
	}
	ends, err := a.client.ListCommittedOffsets(ctx, topics...) // up to an open transaction
	if err == nil {
		err = listed(ends)
	}
	if err != nil {
		return nil, nil, err
	}
	from, last = map[string]map[int32]kgo.Offset{}, map[place]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if !ok || start.Offset < 0 || start.Offset >= end.Offset {
			return
		}
		if from[end.Topic] == nil {
			from[end.Topic] = map[int32]kgo.Offset{}
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().At(start.Offset)
		last[place{end.Topic, end.Partition}] = end.Offset - 1
	})
	return from, last, nil
}

// listed is the error of a list of offsets; that of a missing topic names it.
func listed(offsets kadm.ListedOffsets) (err error) {
	offsets.Each(func(o kadm.ListedOffset) {
		switch {
		case err != nil || o.Err == nil:
		case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			err = fmt.Errorf("topic %s does not exist", o.Topic)
		default:
			err = fmt.Errorf("topic %s, partition %d: %w", o.Topic, o.Partition, o.Err)
		}
	})
	return err
}

// reader is a client that reads what is committed from the given offsets on.
func (a *Admin) reader(from map[string]map[int32]kgo.Offset) (*kgo.Client, error) {
	return a.config.client(
		kgo.ConsumePartitions(from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // the topic's retention may be ahead of us
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // one may be the last of its partition
		kgo.FetchMaxWait(scanWait),
	)
}

// poll hands over the next records. A partition that was read to its last offset is taken out of last.
func poll(ctx context.Context, client *kgo.Client, last map[place]int64, do func(transport.LogRecord) error) error {
	waiting, cancel := context.WithTimeout(ctx, scanPatience)
	defer cancel()
	fetches := client.PollFetches(waiting)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := fetches.Err(); err != nil {
		return fmt.Errorf("kafka: the log cannot be read to its end, %d partitions are left: %w", len(last), err)
	}
	var failed error
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := place{f.Topic, f.Partition}
		end, open := last[p]
		if !open || failed != nil {
			return
		}
		for _, r := range f.Records {
			if r.Offset <= end && !r.Attrs.IsControl() {
				if failed = do(logRecord(r)); failed != nil {
					return
				}
			}
			if r.Offset >= end {
				delete(last, p)
				client.PauseFetchPartitions(map[string][]int32{f.Topic: {f.Partition}})
				return
			}
		}
	})
	return failed
}

func logRecord(r *kgo.Record) transport.LogRecord {
	headers := make([]transport.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = transport.Header(h)
	}
	return transport.LogRecord{
		Record:    transport.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: headers},
		Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp,
	}
}
