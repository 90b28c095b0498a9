package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

const (
	// commitInterval is how much finished work a crash may repeat.
	commitInterval = 200 * time.Millisecond
	// commitTimeout bounds one commit; it delays a rebalance or Close by so much at worst.
	commitTimeout = 2 * time.Second
	// leaveTimeout bounds the goodbye of a member whose broker does not answer; the
	// session time-out then does the same.
	leaveTimeout = 2 * time.Second
	// pingInterval is the wait between looks for a broker that is not there.
	pingInterval = 250 * time.Millisecond

	// pollRecords bounds one poll, and with it what a partition may hold above twice MaxSpan.
	pollRecords = 1000
	// fetchPartitionBytes is what one fetch takes of a partition. It is small because
	// pausing throws a fetch away.
	fetchPartitionBytes = 256 << 10
	// fetchBytes bounds one answer of a broker.
	fetchBytes = 16 << 20
	// fetchWait is how long a broker holds a fetch that finds nothing. A partition
	// that paused is in the next fetch only, so it is short.
	fetchWait = 100 * time.Millisecond
)

// Subscriber is one member of a consumer group, for all topics it is asked for.
//
// A Nack brings the message again after a back-off; messages of other keys go on.
// When a partition moves to another member, running handlers get some seconds
// to finish; what is not finished then, the new owner gets as well.
type Subscriber struct {
	config Config
	group  string
	client *kgo.Client
	subs   *perkey.Subscriptions

	stop    context.CancelFunc // ends the loops
	stopped context.Context
	loops   sync.WaitGroup

	wanted  chan struct{} // something is in the wish list
	closing sync.Once
	closed  error

	mu         sync.Mutex
	wishes     []string
	known      map[string]bool
	partitions map[place]*owned

	// committing is held while offsets are collected and committed, and while a
	// partition is given away: an old offset must not be committed over a new owner's.
	committing sync.Mutex
}

type place struct {
	topic     string
	partition int32
}

// owned is a partition this member has.
type owned struct {
	*perkey.Partition
	committed int64        // guarded by committing
	end       atomic.Int64 // the log's end as of the last fetch
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber makes a member of the group. It joins at the first Subscribe, and
// a new group begins at the oldest record. It does not wait for a broker.
func NewSubscriber(config Config, group string) (*Subscriber, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	if group == "" {
		return nil, errors.New("kafka: a subscriber needs a consumer group")
	}
	s := &Subscriber{
		config: config, group: group,
		subs:       perkey.NewSubscriptions(config.drain(), perkey.Backoff(config.NackBackoff)),
		wanted:     make(chan struct{}, 1),
		known:      map[string]bool{},
		partitions: map[place]*owned{},
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.client, err = config.client(
		kgo.ConsumerGroup(group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(config.SessionTimeout),
		kgo.HeartbeatInterval(config.HeartbeatInterval),
		kgo.RebalanceTimeout(config.RebalanceTimeout),
		kgo.DisableAutoCommit(), // offsets are ours to name
		// Records of a partition that is gone must not reach its successor's bookkeeping.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { s.give(gone, s.config.drain()) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { s.give(gone, 0) }),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Others may write in transactions: what was aborted is skipped, and the marks
		// that end them are counted as done, else offsets would stay behind for ever.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.FetchMaxWait(fetchWait),
	)
	if err != nil {
		return nil, err
	}
	s.loops.Go(s.join)
	s.loops.Go(s.poll)
	s.loops.Go(s.commitLoop)
	return s, nil
}

// Subscribe opens the channel of a topic, which should exist. It may be called at
// any time; calls in quick succession cost one rebalance together. It ends with ctx:
// running handlers may finish, then the channel closes. The topic stays with this
// member, for the next Subscribe, until Close.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	messages, err := s.subs.Subscribe(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("kafka: group %s: %w", s.group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known[topic] {
		s.known[topic] = true
		s.wishes = append(s.wishes, topic)
		select {
		case s.wanted <- struct{}{}:
		default:
		}
	}
	return messages, nil
}

// join adds the topics that were asked for. Before the first it waits for a
// broker to answer; a router has asked for all of its topics by then, and the
// group is joined once, not once per topic.
func (s *Subscriber) join() {
	for {
		select {
		case <-s.stopped.Done():
			return
		case <-s.wanted:
		}
		if !s.awaitBroker() {
			return
		}
		s.mu.Lock()
		topics := s.wishes
		s.wishes = nil
		s.mu.Unlock()
		s.client.AddConsumeTopics(topics...)
	}
}

// awaitBroker returns when a broker answers; false when Close comes first.
func (s *Subscriber) awaitBroker() bool {
	for told := false; ; told = true {
		err := s.client.Ping(s.stopped)
		if err == nil {
			return true
		}
		if !told && s.stopped.Err() == nil {
			s.config.Logger.Warn("kafka: no broker answers, still trying", "brokers", s.config.Brokers, "group", s.group, "error", err)
		}
		select {
		case <-s.stopped.Done():
			return false
		case <-time.After(pingInterval):
		}
	}
}

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
		p = &owned{committed: perkey.NothingDone, Partition: s.subs.Partition(at.topic, s.config.MaxSpan, func() {
			s.client.ResumeFetchPartitions(one)
		})}
		s.partitions[at] = p
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

func (s *Subscriber) commitLoop() {
	ticker := time.NewTicker(commitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stopped.Done():
			return
		case <-ticker.C:
			s.committing.Lock()
			s.commit(s.all())
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
