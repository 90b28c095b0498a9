package kafka

import (
	"context"
	"time"
)

// give stops work on partitions that go elsewhere. Without drain they are
// somebody else's already: handlers are cancelled and nothing can be committed.
func (s *Subscriber) give(gone map[string][]int32, drain time.Duration) {
	leaving := map[place]*owned{}
	s.mu.Lock()
	for topic, partitions := range gone {
		for _, n := range partitions {
			if p := s.partitions[place{topic, n}]; p != nil {
				leaving[place{topic, n}] = p
			}
		}
	}
	s.mu.Unlock()
	if len(leaving) == 0 {
		return
	}
	drainAll(leaving, drain)
	s.committing.Lock()
	defer s.committing.Unlock()
	if drain > 0 {
		s.commit(leaving)
	}
	s.mu.Lock()
	for at := range leaving {
		delete(s.partitions, at)
	}
	s.mu.Unlock()
	s.client.ResumeFetchPartitions(gone) // a pause outlives its owner: the partition may come back
}

func drainAll(partitions map[place]*owned, drain time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	for _, p := range partitions {
		p.Stop()
	}
	for _, p := range partitions {
		p.Drain(ctx)
	}
}
