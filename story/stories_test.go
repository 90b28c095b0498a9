//go:build unix

package story_test

import (
	"testing"

	"millrace/testserver"
)

// story is one saga. Those of the core are told on every transport.
type story struct {
	name string
	core bool
	tell func(*shop)
}

// chapter is stories that can share a system.
type chapter struct {
	name    string
	env     settings
	stories []story
}

// carrying is a transport, and how a router is told to use it.
type carrying struct {
	name string
	env  func(*testing.T) settings
}

var (
	onKafka     = carrying{"kafka", func(t *testing.T) settings { return settings{"KAFKA_BROKERS": testserver.Kafka(t)} }}
	onRealKafka = carrying{"real kafka", func(t *testing.T) settings { return settings{"KAFKA_BROKERS": testserver.RealKafka(t)} }}
	onWatermill = carrying{"watermill", func(t *testing.T) settings {
		return settings{"KAFKA_BROKERS": testserver.Kafka(t), "TRANSPORT": "watermill"}
	}}
	inMemory = carrying{"memory", func(*testing.T) settings { return settings{"TRANSPORT": "memory"} }}
)

func TestStories(t *testing.T) {
	for _, c := range []chapter{theUsual, carrierByHand, impatient, fragileProvider} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.tell(t, onKafka, func(story) bool { return true })
		})
	}
}

func TestStoriesOnOtherTransports(t *testing.T) {
	for _, transport := range []carrying{inMemory, onWatermill, onRealKafka} {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			theUsual.tell(t, transport, func(one story) bool { return one.core })
		})
	}
}

// tell tells the chapter's stories on a system of their own.
func (c chapter) tell(t *testing.T, transport carrying, which func(story) bool) {
	s := openSystem(t, transport, c.env)
	for _, one := range c.stories {
		if which(one) {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				one.tell(s.in(t))
			})
		}
	}
}

// openSystem opens a shop on one node that runs everything. It is audited when the test, and
// the tests in it, are over.
func openSystem(t *testing.T, transport carrying, env settings) *shop {
	t.Helper()
	dsn := testserver.PostgresDSN(t)
	all := settings{"DATABASE_URL": dsn}.with(env).with(transport.env(t))
	s := openShop(t, dsn, startNode(t, all))
	s.auditAtTheEnd(all["KAFKA_BROKERS"])
	return s
}
