package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// askPatience bounds one question to the cluster, repeated while it looks for a leader or coordinator.
	askPatience = 30 * time.Second
	askAgain    = 100 * time.Millisecond
)

// eventLog is what the cluster has of the system's topics.
type eventLog struct {
	options []kgo.Opt
	client  *kgo.Client
	admin   *kadm.Client
	cluster string
	// partitions is how many each topic has. A topic that nobody has made yet is missing.
	partitions map[string]int32
	// starts are where the partitions began before committed was asked for: what a group had read by then lies
	// before its offset, but for the second of work that it may not have committed yet.
	starts map[string]map[int32]int64
	// committed are the offsets up to which each service says it is done; the highest, where
	// the transports' groups differ: either promises that all before it was processed.
	committed [services]map[string]map[int32]int64
	// parts are what is read.
	parts map[string]map[int32]*part
}

// part is one partition, from its start to the end that was noted.
type part struct {
	start, end int64
	next       int64 // the offset to be read next
	// gone is the time before which events may have been removed, in microseconds; 0: all are there.
	gone int64
	// removed is how many records may have been, at the most: as many as there are offsets without one.
	removed int64
	// hole is what was not there when it was read: removed meanwhile, or of a transaction that somebody else gave up.
	hole hole
	// hidden is how many records, ours perhaps, lie behind the end for now: a transaction of somebody else's is open.
	hidden int64
}

// hole is offsets without a record, the first of them all, and the time of the record that came behind the last.
type hole struct{ from, offsets, stamp int64 }

// skip goes on to a record that was read, and notes what is not there before it.
func (p *part) skip(to, stamp int64) {
	if p.next == p.start && p.start > 0 {
		p.gone = stamp
	}
	if to > p.next {
		if p.hole.offsets == 0 {
			p.hole.from = p.next
		}
		p.hole.offsets += to - p.next
		p.hole.stamp = max(p.hole.stamp, stamp)
	}
	p.next = to
}

// judgeHole is told where the partition starts after it was read: what was removed meanwhile lies before that, and what a transaction
// left out is no event of ours.
func (p *part) judgeHole(start int64) {
	if p.hole.offsets > 0 && start > p.hole.from {
		p.gone = max(p.gone, p.hole.stamp)
		p.removed += p.hole.offsets
	}
}

func openLog(options []kgo.Opt) (*eventLog, error) {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	return &eventLog{options: options, client: client, admin: kadm.NewClient(client), partitions: map[string]int32{}}, nil
}

func (l *eventLog) close() { l.client.Close() }

// find looks which of the system's topics there are.
func (l *eventLog) find(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error {
		metadata, err := l.admin.Metadata(ctx)
		if err != nil {
			return fmt.Errorf("list the topics: %w", err)
		}
		l.cluster = metadata.Cluster
		for _, topic := range systemTopics() {
			detail, ok := metadata.Topics[topic]
			if !ok || errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
				continue
			}
			if detail.Err != nil {
				return fmt.Errorf("topic %s: %w", topic, detail.Err)
			}
			l.partitions[topic] = int32(len(detail.Partitions))
		}
		return nil
	})
}

// systemTopics are those of events and of dead letters.
func systemTopics() (names []string) {
	for _, line := range flow {
		names = append(names, line.topic)
	}
	for s := range services {
		names = append(names, s.letterTopic())
	}
	return names
}

// patiently asks again while the cluster says that it cannot answer just now.
func patiently(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	for {
		err := ask(ctx)
		var refusal *kerr.Error
		if err == nil || !errors.As(err, &refusal) || !refusal.Retriable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(askAgain):
		}
	}
}

// offsets are what was listed, if all was.
func offsets(listed kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = listed.Error()
	}
	return listed, err
}

// startsOf asks where the topics' partitions start.
func (l *eventLog) startsOf(ctx context.Context, topics []string) (kadm.ListedOffsets, error) {
	listed, err := offsets(l.admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, fmt.Errorf("ask for the starts of the topics: %w", err)
	}
	return listed, nil
}

// judgeHoles asks where the partitions start now that they are read, where something is missing in them.
func (l *eventLog) judgeHoles(ctx context.Context) error {
	var topics []string
	for topic, list := range l.parts {
		for _, p := range list {
			if p.hole.offsets > 0 && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
	}
	if len(topics) == 0 {
		return nil
	}
	return patiently(ctx, func(ctx context.Context) error {
		starts, err := l.startsOf(ctx, topics)
		if err != nil {
			return err
		}
		starts.Each(func(start kadm.ListedOffset) {
			if p := l.parts[start.Topic][start.Partition]; p != nil {
				p.judgeHole(start.Offset)
			}
		})
		return nil
	})
}

// noteStarts notes where the log begins.
func (l *eventLog) noteStarts(ctx context.Context) error {
	topics := slices.Sorted(maps.Keys(l.partitions))
	if len(topics) == 0 {
		return nil
	}
	return patiently(ctx, func(ctx context.Context) error {
		listed, err := l.startsOf(ctx, topics)
		if err != nil {
			return err
		}
		l.starts = map[string]map[int32]int64{}
		listed.Each(func(start kadm.ListedOffset) {
			if l.starts[start.Topic] == nil {
				l.starts[start.Topic] = map[int32]int64{}
			}
			l.starts[start.Topic][start.Partition] = start.Offset
		})
		return nil
	})
}

// noteCommitted notes how far each service says it has come. A group that has never been is far from
// having processed anything.
func (l *eventLog) noteCommitted(ctx context.Context) error {
	of := map[string]service{}
	for s := range services {
		of[s.group()] = s
		for topic := range l.partitions {
			of[s.group()+"."+topic] = s // with TRANSPORT=watermill there is a group for each topic
		}
	}
	return patiently(ctx, func(ctx context.Context) error {
		for group, fetched := range l.admin.FetchManyOffsets(ctx, slices.Sorted(maps.Keys(of))...) {
			if fetched.Err != nil {
				if errors.Is(fetched.Err, kerr.GroupIDNotFound) {
					continue
				}
				return fmt.Errorf("read the offsets of group %s: %w", group, fetched.Err)
			}
			for topic, list := range fetched.Fetched {
				if prefixed := of[group].group() + "."; strings.HasPrefix(group, prefixed) && group != prefixed+topic {
					continue
				}
				for partition, offset := range list {
					if offset.Err != nil {
						return fmt.Errorf("read the offsets of group %s, %s/%d: %w", group, topic, partition, offset.Err)
					}
					if offset.At >= 0 { // else it has none there
						l.commits(of[group], topic, partition, offset.At)
					}
				}
			}
		}
		return nil
	})
}

func (l *eventLog) commits(s service, topic string, partition int32, offset int64) {
	if l.committed[s] == nil {
		l.committed[s] = map[string]map[int32]int64{}
	}
	if l.committed[s][topic] == nil {
		l.committed[s][topic] = map[int32]int64{}
	}
	l.committed[s][topic][partition] = max(offset, l.committed[s][topic][partition])
}

// noteEnds notes up to where the log will be read: as far as a subscriber gets, which is the
// first open transaction of somebody else's, or the end.
func (l *eventLog) noteEnds(ctx context.Context) error {
	topics := slices.Sorted(maps.Keys(l.partitions))
	if len(topics) == 0 {
		return nil
	}
	return patiently(ctx, func(ctx context.Context) error {
		starts, err := l.startsOf(ctx, topics)
		if err != nil {
			return err
		}
		written, err := offsets(l.admin.ListEndOffsets(ctx, topics...))
		if err != nil {
			return fmt.Errorf("ask for the ends of the topics: %w", err)
		}
		ends, err := offsets(l.admin.ListCommittedOffsets(ctx, topics...)) // after that: they are behind it, but for open transactions
		if err != nil {
			return fmt.Errorf("ask for the ends of the topics: %w", err)
		}
		l.parts = map[string]map[int32]*part{}
		ends.Each(func(end kadm.ListedOffset) {
			start, _ := starts.Lookup(end.Topic, end.Partition)
			last, _ := written.Lookup(end.Topic, end.Partition)
			if l.parts[end.Topic] == nil {
				l.parts[end.Topic] = map[int32]*part{}
			}
			l.parts[end.Topic][end.Partition] = &part{start: start.Offset, end: end.Offset, next: start.Offset, removed: start.Offset,
				hidden: max(0, last.Offset-end.Offset)}
		})
		return nil
	})
}
