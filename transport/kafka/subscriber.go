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
	turn       int // of the next partition

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
	turn      int          // when it is committed
	end       atomic.Int64 // the log's end as of the last fetch
}

var (
	_ message.Subscriber = (*Subscriber)(nil)
	_ transport.Settler  = (*Subscriber)(nil)
)

// ExpectSettle implements transport.Settler.
func (s *Subscriber) ExpectSettle() { s.subs.ExpectSettle() }

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
