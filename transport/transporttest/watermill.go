package transporttest

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/google/uuid"

	"millrace/transport"
)

// watermill runs Watermill's own suite: once with records that have no key, once
// with the payload as the key, where order is demanded. (Its ordering tests expect
// order among equal payloads, and one message at a time where all are equal. Order within
// a whole partition is not promised: that is what per-key concurrency gives up.)
func watermill(t *testing.T, f Fixture) {
	features := tests.Features{ConsumerGroups: true, Persistent: true, ForceShort: true}
	t.Run("Unkeyed", func(t *testing.T) {
		t.Parallel()
		tests.TestPubSub(t, features, perTest(f, false), inGroup(f, false))
	})
	t.Run("Keyed", func(t *testing.T) {
		t.Parallel()
		ordered := features
		ordered.GuaranteedOrder = true
		tests.TestPubSub(t, ordered, perTest(f, true), inGroup(f, true))
	})
	t.Run("OldMessages", func(t *testing.T) { // a new group begins at the oldest record
		t.Parallel()
		old := features
		old.NewSubscriberReceivesOldMessages = true
		tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{TestID: tests.NewTestID(), Features: old},
			func(t *testing.T) (message.Publisher, message.Subscriber) {
				return pubSub(t, f, uuid.NewString(), false)
			})
	})
}

// perTest gives each of Watermill's tests a group of its own.
func perTest(f Fixture, byPayload bool) tests.PubSubConstructor {
	return func(t *testing.T) (message.Publisher, message.Subscriber) { return pubSub(t, f, t.Name(), byPayload) }
}

func inGroup(f Fixture, byPayload bool) tests.ConsumerGroupPubSubConstructor {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		return pubSub(t, f, group, byPayload)
	}
}

func pubSub(t *testing.T, f Fixture, group string, byPayload bool) (message.Publisher, message.Subscriber) {
	on := opened(t, f)
	publisher, err := on.Publisher()
	if err != nil {
		t.Fatal(err)
	}
	subscriber, err := on.Subscriber(group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // some of its tests leave both open
		_ = publisher.Close()
		_ = subscriber.Close()
	})
	if byPayload {
		publisher = keyedByPayload{publisher}
	}
	return publisher, initializer{subscriber, on}
}

// keyedByPayload is for ordering tests.
type keyedByPayload struct{ message.Publisher }

// Publish publishes each message under its payload.
func (p keyedByPayload) Publish(topic string, messages ...*message.Message) error {
	for _, msg := range messages {
		msg.SetContext(transport.WithKey(context.Background(), msg.Payload))
	}
	return p.Publisher.Publish(topic, messages...)
}

// initializer makes topics as Watermill's tests ask for them.
type initializer struct {
	message.Subscriber
	on transport.Transport
}

// SubscribeInitialize implements message.SubscribeInitializer.
func (i initializer) SubscribeInitialize(topic string) error {
	return i.on.EnsureTopics(context.Background(), Partitions, topic)
}
