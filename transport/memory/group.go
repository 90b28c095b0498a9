package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

// group is a consumer group: who is in it, who has which partition, and what is done.
type group struct {
	name string
	bus  *Bus

	rebalancing sync.Mutex // held while partitions move

	mu      sync.Mutex
	members []*Subscriber
	owners  map[place]*owned
	done    map[place]int64 // of partitions nobody has; the others know it themselves
}

// owned is a partition with a member.
type owned struct {
	*perkey.Partition
	member *Subscriber
	stop   context.CancelFunc
	pump   sync.WaitGroup
}

// Subscriber is one member of a group.
type Subscriber struct {
	group *group
	subs  *perkey.Subscriptions

	mu     sync.Mutex
	topics []string
}

var (
	_ message.Subscriber = (*Subscriber)(nil)
	_ transport.Settler  = (*Subscriber)(nil)
)

// ExpectSettle implements transport.Settler.
func (s *Subscriber) ExpectSettle() { s.subs.ExpectSettle() }

// Subscribe implements message.Subscriber. The topic must exist. It ends with
// ctx: running handlers may finish, then the channel closes; the topic's partitions stay
// with this member until Close.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if _, err := s.group.bus.partitions(topic); err != nil {
		return nil, err
	}
	messages, err := s.subs.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if !slices.Contains(s.topics, topic) {
		s.topics = append(s.topics, topic)
	}
	s.mu.Unlock()
	s.group.join(s)
	return messages, nil
}

// Close ends all subscriptions, as Kafka's does. It may be called any number of
// times, from anywhere but a handler.
func (s *Subscriber) Close() error {
	s.subs.Close()
	s.group.leave(s)
	return nil
}

func (s *Subscriber) wants(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.topics, topic)
}

func (g *group) join(s *Subscriber) {
	g.rebalancing.Lock()
	defer g.rebalancing.Unlock()
	g.mu.Lock()
	if !slices.Contains(g.members, s) {
		g.members = append(g.members, s)
	}
	g.mu.Unlock()
	g.rebalance()
}

func (g *group) leave(s *Subscriber) {
	g.rebalancing.Lock()
	defer g.rebalancing.Unlock()
	g.mu.Lock()
	g.members = slices.DeleteFunc(g.members, func(m *Subscriber) bool { return m == s })
	g.mu.Unlock()
	g.rebalance()
}

// rebalance deals the partitions of each topic out among the members that want
// it, in turn, and moves those that change hands: no new owner before the old one
// has let go.
func (g *group) rebalance() {
	var moved []*log
	for _, l := range g.bus.logs() {
		if owner := g.owner(l.place); owner == nil || owner.member != g.due(l.place) {
			moved = append(moved, l)
		}
	}
	g.release(moved)
	for _, l := range moved {
		if member := g.due(l.place); member != nil {
			g.assign(l, member)
		}
	}
}

// due is who should have a partition; nil for nobody.
func (g *group) due(at place) *Subscriber {
	g.mu.Lock()
	defer g.mu.Unlock()
	var takers []*Subscriber
	for _, m := range g.members {
		if m.wants(at.topic) {
			takers = append(takers, m)
		}
	}
	if len(takers) == 0 {
		return nil
	}
	return takers[int(at.partition)%len(takers)]
}

func (g *group) owner(at place) *owned {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.owners[at]
}

// release takes partitions from their owners and keeps how far they came.
func (g *group) release(logs []*log) {
	leaving := map[place]*owned{}
	for _, l := range logs {
		if p := g.owner(l.place); p != nil {
			p.stop()
			p.Stop()
			leaving[l.place] = p
		}
	}
	for at, p := range leaving {
		ctx, cancel := context.WithTimeout(context.Background(), p.member.subs.Drain)
		p.Drain(ctx)
		cancel()
		p.pump.Wait()
		g.mu.Lock()
		if done := p.Done(); done != perkey.NothingDone {
			g.done[at] = done
		}
		delete(g.owners, at)
		g.mu.Unlock()
	}
}

// assign gives a partition to a member, which goes on where the last one was.
func (g *group) assign(l *log, member *Subscriber) {
	from := g.position(l.place)
	room := make(chan struct{}, 1)
	p := &owned{member: member, Partition: member.subs.Partition(l.place.topic, maxSpan, func() {
		select {
		case room <- struct{}{}:
		default:
		}
	})}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	g.mu.Lock()
	g.owners[l.place] = p
	g.mu.Unlock()
	p.pump.Go(func() { p.read(ctx, l, from, g.name, room) })
}

// read pushes what the log has, until ctx ends.
func (p *owned) read(ctx context.Context, l *log, offset int64, group string, room <-chan struct{}) {
	for ctx.Err() == nil {
		r, grown := l.at(offset)
		if r == nil {
			select {
			case <-grown:
			case <-ctx.Done():
			}
			continue
		}
		p.Push(transport.Delivery{
			Topic: r.Topic, Partition: r.place.partition, Offset: r.offset, Key: r.Key, Group: group, Time: r.time,
		}, r)
		offset++
		if p.Full() {
			select {
			case <-room:
			case <-ctx.Done():
			}
		}
	}
}

// position is the offset of the first record the group has not finished.
func (g *group) position(at place) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.owners[at]; p != nil {
		if done := p.Done(); done != perkey.NothingDone {
			return done
		}
	}
	return g.done[at]
}
