package kafka

import (
	"context"
	"fmt"
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
	drainAll(s.all(), 0) // the subscriptions have waited for the handlers already
	s.stop()
	s.loops.Wait()
	// Leaving gives all partitions away, and that commits what is done.
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	err := s.client.LeaveGroupContext(ctx)
	s.client.CloseAllowingRebalance()
	if err != nil {
		return fmt.Errorf("kafka: leave group %s; its partitions move when the session time-out is over: %w", s.group, err)
	}
	return nil
}
