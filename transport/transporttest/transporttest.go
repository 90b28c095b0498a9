// Package transporttest is the one conformance suite that every transport
// passes. It tells what a handler may rely on, whatever carries its messages;
// Watermill's own pubsub/tests are part of it.
package transporttest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/transport"
)

// Fixture is a transport to test.
type Fixture struct {
	// Open returns one more transport on the same log, as a second process would
	// have it. The suite closes it.
	Open func(t *testing.T) transport.Transport
	// Foreign writes records as a client would that knows nothing of Watermill.
	Foreign transport.BatchPublisher
	// PerKey says that messages of several keys of one partition are in flight
	// together, and that Close and rebalances let running handlers finish.
	// Stock watermill-kafka does neither.
	PerKey bool
	// Kill, if set, ends a subscriber as kill -9 would. Members that live and die
	// with one process have none.
	Kill func(sub message.Subscriber)

	settles bool // members answer with transport.Settle instead of Ack and Nack
}

// Partitions is how many partitions the suite's topics have.
const Partitions = 3

// patience is how long the suite waits for what must happen; it is long, because
// test machines are busy, and no passing test waits for its end.
const patience = 20 * time.Second

// Run runs the suite. fixture is called once; what it needs to clean up it
// leaves to t.Cleanup.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	f := fixture(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f Fixture)
	}{
		{"EnsureTopics", ensureTopics},
		{"Delivery", delivery},
		{"Partitioning", partitioning},
		{"ForeignRecord", foreignRecord},
		{"NackComesAgain", nackComesAgain},
		{"KeyedOrder", keyedOrder},
		{"SlowKey", slowKey},
		{"Groups", groups},
		{"Restart", restart},
		{"Rebalance", rebalance},
		{"Churn", churn},
		{"Kill", kill},
		{"CloseWhileHandling", closeWhileHandling},
		{"CloseIsBounded", closeIsBounded},
		{"RevokeIsBounded", revokeIsBounded},
		{"Backlog", backlog},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, f)
		})
		if f.PerKey {
			settles := f
			settles.settles = true
			t.Run(test.name+"Settled", func(t *testing.T) {
				t.Parallel()
				test.run(t, settles)
			})
		}
	}
	t.Run("Watermill", func(t *testing.T) {
		t.Parallel()
		watermill(t, f)
	})
}

// world is what one test works with: a topic and a group of its own.
type world struct {
	t     *testing.T
	f     Fixture
	topic string
	group string
	transport.Transport
	publisher message.Publisher
}

func open(t *testing.T, f Fixture) *world {
	t.Helper()
	id := uuid.NewString()
	w := &world{t: t, f: f, topic: "topic-" + id, group: "group-" + id, Transport: opened(t, f)}
	w.ensure(w.topic)
	publisher, err := w.Publisher()
	if err != nil {
		t.Fatalf("publisher: %v", err)
	}
	t.Cleanup(func() { closeAll(t, publisher) })
	w.publisher = publisher
	return w
}

func opened(t *testing.T, f Fixture) transport.Transport {
	t.Helper()
	transport := f.Open(t)
	t.Cleanup(func() { closeAll(t, transport) })
	return transport
}

func closeAll(t *testing.T, closer interface{ Close() error }) {
	if err := closer.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func (w *world) ensure(topics ...string) {
	w.t.Helper()
	if err := w.EnsureTopics(w.t.Context(), Partitions, topics...); err != nil {
		w.t.Fatalf("ensure topics: %v", err)
	}
}

// publish sends n messages for each of the keys, in turn, each with its number.
func (w *world) publish(keys, n int) {
	w.t.Helper()
	w.publishPart(keys, 0, n)
}

// publishPart does the same, from another number on.
func (w *world) publishPart(keys, from, n int) {
	w.t.Helper()
	var messages []*message.Message
	for i := from; i < from+n; i++ {
		for k := range keys {
			messages = append(messages, keyed(key(k), strconv.Itoa(i)))
		}
	}
	if err := w.publisher.Publish(w.topic, messages...); err != nil {
		w.t.Fatalf("publish: %v", err)
	}
}

func key(k int) string { return fmt.Sprintf("key-%03d", k) }

func keyed(key, payload string) *message.Message {
	msg := message.NewMessage(uuid.NewString(), []byte(payload))
	msg.SetContext(transport.WithKey(context.Background(), []byte(key)))
	return msg
}

// member joins the world's group and handles the topic as a Router does: a
// goroutine for each message. handle returns whether to Ack.
func (w *world) member(handle func(msg *message.Message) bool) *member {
	w.t.Helper()
	sub, err := opened(w.t, w.f).Subscriber(w.group)
	if err != nil {
		w.t.Fatalf("subscriber: %v", err)
	}
	if w.f.settles {
		sub.(transport.Settler).ExpectSettle()
	}
	m := &member{Subscriber: sub}
	w.t.Cleanup(func() { _ = m.Close() })
	messages, err := sub.Subscribe(w.t.Context(), w.topic)
	if err != nil {
		w.t.Fatalf("subscribe: %v", err)
	}
	m.done.Go(func() {
		for msg := range messages {
			go func() {
				done := handle(msg)
				switch {
				case w.f.settles:
					transport.Settle(msg.Context(), done)
				case done:
					msg.Ack()
				default:
					msg.Nack()
				}
			}()
		}
	})
	return m
}

type member struct {
	message.Subscriber
	done sync.WaitGroup
}

// Close closes the subscriber and waits until its channel is closed.
func (m *member) Close() error {
	err := m.Subscriber.Close()
	m.done.Wait()
	return err
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not after %s: %s", patience, what)
		}
		<-tick.C
	}
}

// within fails the test if a channel stays silent.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("still not after %s: %s", patience, what)
		panic("unreachable")
	}
}
