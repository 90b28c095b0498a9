package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/verify/spill"
)

const (
	// silencePatience is how long nothing may come while there is something left to read.
	silencePatience = time.Minute
	// fetchBytes and fetchPartitionBytes bound what the client holds, some ten times as much: they are compressed. A larger
	// record comes all the same.
	fetchBytes          = 2 << 20
	fetchPartitionBytes = 256 << 10
	fetchWait           = 100 * time.Millisecond
)

// errSilent means that a partition cannot be read to the end that the cluster named.
var errSilent = errors.New("nothing came for a minute")

// read hands over every record of the noted parts, each partition's in its order.
func (l *eventLog) read(ctx context.Context, out *spill.Writer, count func(n int64)) error {
	from, left := map[string]map[int32]kgo.Offset{}, 0
	for topic, list := range l.parts {
		for partition, p := range list {
			if p.start >= p.end {
				continue
			}
			if from[topic] == nil {
				from[topic] = map[int32]kgo.Offset{}
			}
			from[topic][partition] = kgo.NewOffset().At(p.start)
			left++
		}
	}
	if left == 0 {
		return nil
	}
	client, err := kgo.NewClient(append(append([]kgo.Opt(nil), l.options...),
		kgo.ConsumePartitions(from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // what is removed while it is read is counted as gone
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they may be all that is left before the end
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes), kgo.FetchMaxWait(fetchWait))...)
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	for left > 0 {
		fetches, err := poll(ctx, client)
		if err != nil {
			return fmt.Errorf("read the log, %d partitions are left: %w", left, err)
		}
		finished := map[string][]int32{}
		var failed error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			p := l.parts[f.Topic][f.Partition]
			if failed != nil || p == nil || p.next >= p.end {
				return
			}
			for _, r := range f.Records {
				p.skip(min(r.Offset, p.end), r.Timestamp.UnixMicro())
				if r.Offset >= p.end {
					break
				}
				p.next++
				if r.Attrs.IsControl() {
					continue
				}
				if failed = keep(r, out); failed != nil {
					return
				}
			}
			count(int64(len(f.Records)))
			if p.next >= p.end {
				finished[f.Topic] = append(finished[f.Topic], f.Partition)
				left--
			}
		})
		if failed != nil {
			return failed
		}
		if len(finished) > 0 {
			client.PauseFetchPartitions(finished) // what comes now is after the moment that is looked at
		}
	}
	return l.judgeHoles(ctx)
}

func poll(ctx context.Context, client *kgo.Client) (kgo.Fetches, error) {
	patient, cancel := context.WithTimeout(ctx, silencePatience)
	defer cancel()
	for {
		fetches := client.PollFetches(patient)
		switch err := fetches.Err(); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case patient.Err() != nil && fetches.NumRecords() == 0:
			return nil, errors.Join(errSilent, err)
		case err != nil && patient.Err() == nil:
			return nil, err
		case fetches.NumRecords() > 0:
			return fetches, nil
		}
	}
}

// keep puts a record where its order's other facts are.
func keep(r *kgo.Record, out *spill.Writer) error {
	f := fetched{topic: r.Topic, partition: r.Partition, offset: r.Offset, key: r.Key, value: r.Value, stamp: r.Timestamp.UnixMicro()}
	f.headers = make([]header, len(r.Headers))
	for i, h := range r.Headers {
		f.headers[i] = header{h.Key, h.Value}
	}
	return f.keep(out)
}
