package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

// poll hands fetched records to their partitions. That never blocks, so a
// rebalance waits for microseconds only.
func (s *Subscriber) poll() {
	for s.stopped.Err() == nil {
		fetches := s.client.PollRecords(s.stopped, pollRecords)
		fetches.EachError(func(topic string, partition int32, err error) {
			if s.stopped.Err() == nil && !errors.Is(err, kgo.ErrClientClosed) {
				s.config.Logger.Warn("kafka: fetch failed, it is tried again",
					"group", s.group, "topic", topic, "partition", partition, "error", err)
			}
		})
		var full map[string][]int32
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) > 0 && s.push(f) {
				if full == nil {
					full = map[string][]int32{}
				}
				full[f.Topic] = append(full[f.Topic], f.Partition)
			}
		})
		if full != nil {
			s.pause(full)
		}
		s.client.AllowRebalance()
	}
}

// push gives a fetch to its partition, and says whether that is full now.
func (s *Subscriber) push(f kgo.FetchTopicPartition) bool {
	p := s.partition(place{f.Topic, f.Partition})
	p.end.Store(f.HighWatermark)
	for _, r := range f.Records {
		if r.Attrs.IsControl() {
			p.Skip(r.Offset)
			continue
		}
		p.Push(transport.Delivery{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Group: s.group, Time: r.Timestamp,
		}, (*record)(r))
	}
	return p.Full()
}

// partition finds a partition, or starts with it at its first record.
func (s *Subscriber) partition(at place) *owned {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[at]
	if p == nil {
		one := map[string][]int32{at.topic: {at.partition}}
		p = &owned{committed: perkey.NothingDone, turn: s.turn, Partition: s.subs.Partition(at.topic, s.config.MaxSpan, func() {
			s.client.ResumeFetchPartitions(one)
		})}
		s.partitions[at] = p
		s.turn = (s.turn + 1) % commitTurns
	}
	return p
}

// pause stops fetching of full partitions; each resumes when it has room.
func (s *Subscriber) pause(full map[string][]int32) {
	s.client.PauseFetchPartitions(full)
	for topic, partitions := range full {
		for _, n := range partitions {
			// It may have emptied before it was paused; then nobody would wake it.
			if !s.partition(place{topic, n}).Full() {
				s.client.ResumeFetchPartitions(map[string][]int32{topic: {n}})
			}
		}
	}
}
