package kafka

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/fault"
)

const (
	// commitInterval is how much finished work a crash may repeat.
	commitInterval = time.Second
	// commitTurns is how many parts commitInterval has: partitions take turns. The embedded broker
	// syncs its disk for each offset it is told, and does nothing else meanwhile.
	commitTurns = 10
	// commitTimeout bounds one commit; it delays a rebalance or Close by so much at worst.
	commitTimeout = 2 * time.Second
)

func (s *Subscriber) commitLoop() {
	ticker := time.NewTicker(commitInterval / commitTurns)
	defer ticker.Stop()
	for turn := 0; ; turn = (turn + 1) % commitTurns {
		select {
		case <-s.stopped.Done():
			return
		case <-ticker.C:
			s.committing.Lock()
			partitions := s.all()
			maps.DeleteFunc(partitions, func(_ place, p *owned) bool { return p.turn != turn })
			s.commit(partitions)
			s.committing.Unlock()
		}
	}
}

func (s *Subscriber) all() map[place]*owned {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[place]*owned, len(s.partitions))
	for at, p := range s.partitions {
		all[at] = p
	}
	return all
}

// commit tells the broker what is done. Whatever fails is tried again with the
// next one; if there is none, the records are delivered twice.
func (s *Subscriber) commit(partitions map[place]*owned) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	done := map[*owned]int64{}
	for at, p := range partitions {
		offset := p.Done()
		if fault.On(fault.CommitEarly) {
			offset = p.end.Load()
		}
		if offset <= p.committed {
			continue
		}
		if offsets[at.topic] == nil {
			offsets[at.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[at.topic][at.partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		done[p] = offset
	}
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := commitSync(ctx, s.client, offsets); err != nil {
		s.config.Logger.Debug("kafka: commit failed, the next one repeats it", "group", s.group, "error", err)
		return
	}
	for p, offset := range done {
		p.committed = offset
	}
}

// commitSync commits and waits for the answer.
func commitSync(ctx context.Context, client *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) error {
	var failed error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failed = err
			return
		}
		for _, topic := range answer.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil && failed == nil {
					failed = fmt.Errorf("%s/%d: %w", topic.Topic, partition.Partition, err)
				}
			}
		}
	})
	return failed
}
