//go:build unix

package story_test

import (
	"testing"

	"millrace/event"
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

var chapters = []chapter{theUsual}

// theUsual: everything as it is by default, but for a quick carrier.
var theUsual = chapter{"the usual", settings{}, []story{
	{"an order is paid, shipped and delivered", true, isDelivered},
}}

func TestStories(t *testing.T) {
	for _, c := range chapters {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.tell(t, settings{"KAFKA_BROKERS": testserver.Kafka(t)}, func(story) bool { return true })
		})
	}
}

// tell tells the chapter's stories on a system of their own.
func (c chapter) tell(t *testing.T, env settings, which func(story) bool) {
	dsn := testserver.PostgresDSN(t)
	s := openShop(t, dsn, startNode(t, settings{"DATABASE_URL": dsn}.with(c.env).with(env)))
	for _, one := range c.stories {
		if which(one) {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				one.tell(s.in(t))
			})
		}
	}
}

var delivered = ending{
	Status: event.OrderDelivered, Way: "AWAITING_PAYMENT PAID SHIPPED DELIVERED",
	Payment: "SUCCEEDED", Stock: "SOLD", Parcel: "PREPARING SHIPPED DELIVERED", Captured: 1,
	Told:      told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeDelivered),
	Available: onTheShelf - wanted, Sold: wanted,
}

func isDelivered(s *shop) {
	o := s.places()
	o.isNow(event.OrderDelivered)
	o.ends(delivered)
}
