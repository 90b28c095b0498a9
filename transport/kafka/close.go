package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Close ends all subscriptions: no new deliveries, running handlers get some
// seconds, what they finished is committed, the group is left at once. It takes ten
// seconds at worst, and may be called any number of times, from anywhere but a handler.
func (s *Subscriber) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Subscriber) close() error {
	s.subs.Close()
	all := s.all()
	drainAll(all, 0) // the subscriptions have waited for the handlers already
	s.stop()
	s.loops.Wait()
	s.committing.Lock()
	s.commit(all)
	s.committing.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err := s.client.LeaveGroupContext(ctx)
	s.client.CloseAllowingRebalance()
	if err != nil {
		return fmt.Errorf("kafka: leave group %s; its partitions move when the session time-out is over: %w", s.group, err)
	}
	return nil
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
