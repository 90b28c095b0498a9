//go:build unix

package story_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"millrace/event"
	"millrace/testserver"
)

// outageLength is far beyond the deadline of 6 s: a deadline may be late by the time it
// takes to be sure that no message is.
const outageLength = 15 * time.Second

// unhurried leaves time to stop a router while parcels are on their way; the session ends
// soon, so that a killed router's partitions are given to the next one.
var unhurried = settings{"CARRIER_STEP": "2s", "KAFKA_SESSION_TIMEOUT": "6s"}

// A router that is stopped or killed half-way goes on where it was. Not in memory: that
// transport's events end with the process, and it says so.
func TestRestart(t *testing.T) {
	for _, how := range []struct {
		name string
		on   carrying
		end  func(*node)
	}{
		{"stopped", onKafka, (*node).stop},
		{"killed", onKafka, (*node).kill},
		{"stopped, on watermill", onWatermill, (*node).stop},
		{"killed, on watermill", onWatermill, (*node).kill},
		{"killed, on a real Kafka", onRealKafka, (*node).kill},
	} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			s := openSystem(t, how.on, unhurried)
			pending := s.places(paying("pm_pending_accepted"))
			cancelled := s.places(paying("pm_pending_forever"))
			pending.isNow(event.OrderPaymentPending)
			cancelled.isNow(event.OrderPaymentPending)
			packed := s.places()
			packed.isBeingPacked()
			refused := s.places(shippedTo("SHIP-REFUSED"))
			down := s.places(paying("pm_unavailable"))
			unpaid := s.places(paying("pm_declined"))
			short := s.places(buying(s.article(onTheShelf), onTheShelf+1))
			fresh := s.places()
			cancelled.cancels(http.StatusAccepted)

			n := s.nodes[0]
			how.end(n)
			n.start()

			pending.ends(deliveredAfterPending)
			cancelled.ends(cancelledWhilePending)
			packed.ends(delivered)
			refused.ends(refusedByTheCarrier)
			down.ends(delivered)
			unpaid.ends(declined)
			short.ends(outOfStock)
			fresh.ends(delivered)
		})
	}
}

// While nobody listens the events pile up. Whoever comes back hears each topic in order,
// but effects before their causes, and ends where it would have ended.
func TestBacklog(t *testing.T) {
	t.Run("of everything but the orders", func(t *testing.T) {
		t.Parallel()
		s, _, others := openSplit(t, "order")
		const ofEach = 10
		article := s.article(ofEach * 2 * wanted)
		others.stop()
		var good, unwanted, short []*placed
		for range ofEach {
			good = append(good, s.places(buying(article, wanted)))
			unwanted = append(unwanted, s.places(buying(article, wanted)))
			short = append(short, s.places(buying("NOBODY-HEARD-OF-IT", wanted)))
		}
		for _, o := range unwanted {
			o.cancels(http.StatusAccepted)
		}
		others.start()
		// All of them share an article, so its pieces are counted by the audit.
		for _, o := range good {
			o.endsApartFromStock(delivered)
		}
		for _, o := range unwanted {
			o.endsApartFromStock(ending{
				Status: event.OrderIsCancelled, Reason: event.ReasonCustomer, Way: "CANCELLING CANCELLED", Stock: "RELEASED",
				Told: told(event.NoticePlaced, event.NoticeCancelled),
			})
		}
		for _, o := range short {
			o.endsApartFromStock(outOfStock)
		}
	})
	t.Run("of the orders", func(t *testing.T) {
		t.Parallel()
		s, orders, _ := openSplit(t, "order")
		const ofEach = 8 // an effect overtakes its cause in about every third order
		var good, unpaid, unwanted []*placed
		for range ofEach {
			good = append(good, s.places(paying("pm_pending_accepted")))
			unpaid = append(unpaid, s.places(paying("pm_pending_declined")))
			unwanted = append(unwanted, s.places(paying("pm_pending_forever")))
		}
		for _, o := range unwanted {
			o.paymentIs("PENDING")
			o.cancels(http.StatusAccepted)
		}
		for _, o := range slices.Concat(good, unpaid) {
			o.isAsked()
		}
		orders.stop()
		for _, o := range good {
			o.parcelIs("DELIVERED")
		}
		for _, o := range slices.Concat(unpaid, unwanted) {
			o.stockIs("RELEASED")
		}
		orders.start()
		for _, o := range good {
			o.endsAsOneOf(heardOrNot(deliveredAfterPending)...)
		}
		for _, o := range unpaid {
			o.endsAsOneOf(heardOrNot(declinedAfterPending)...)
		}
		for _, o := range unwanted {
			o.endsAsOneOf(heardOrNot(cancelledWhilePending)...)
		}
	})
	// An outage of ours is no reason to cancel: a deadline waits for what is on its way.
	t.Run("longer than every deadline", func(t *testing.T) {
		t.Parallel()
		s, _, shipping := openSplitWith(t, "order,payment,inventory,notification,analytics", settings{"PAYMENT_DEADLINE": "4s", "ORDER_DEADLINE": "6s"})
		shipping.stop()
		o := s.places()
		o.isNow(event.OrderPaid)
		// That deadlines fire at all is shown by one that waits for nobody who is away.
		s.places(paying("pm_pending_forever")).isNow(event.OrderIsCancelled)
		o.isPaidFor(outageLength)
		shipping.start()
		o.ends(delivered)
	})
}

// openSplit runs the named services in one process and the others in a second one, each
// with a database of its own, on one Kafka.
func openSplit(t *testing.T, services string) (s *shop, named, others *node) {
	t.Helper()
	return openSplitWith(t, services, nil)
}

func openSplitWith(t *testing.T, services string, env settings) (s *shop, named, others *node) {
	t.Helper()
	brokers := testserver.Kafka(t)
	start := func(services string) (*node, string) {
		dsn := testserver.PostgresDSN(t)
		return startNode(t, settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "SERVICES": services}.with(env)), dsn
	}
	named, books := start(services)
	others, othersBooks := start(allBut(services))
	if named.ports["payment"] == 0 {
		books = othersBooks
	}
	s = openShop(t, books, named, others)
	s.auditAtTheEnd(brokers)
	return s, named, others
}
