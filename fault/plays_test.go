//go:build unix

package fault_test

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// play is what happens to a system: the load under which a mistake shows.
type play func(s *system)

// shop is a shop's day: orders that are delivered, one that is not paid, one that is cancelled when it was paid.
func shop(s *system) {
	at := s.routers[0]
	back := s.place(at, "pm_accepted", "SHIP-SLOW")
	s.place(at, "pm_accepted", "BA1 1AA")
	s.place(at, "pm_declined", "BA1 1AA")
	kept := s.place(at, "pm_accepted", "BA1 1AA")
	if s.reaches(back, "PAID") {
		s.cancel(at, back)
		s.reaches(back, "CANCELLED")
	}
	s.reaches(kept, "DELIVERED")
}

// oversell is a day on which the database takes any stock.
func oversell(s *system) {
	s.exec(`DO $$ DECLARE c text; BEGIN
FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'inventory.stock'::regclass AND contype = 'c' LOOP EXECUTE 'ALTER TABLE inventory.stock DROP CONSTRAINT ' || quote_ident(c); END LOOP; END $$`)
	shop(s)
}

// repeat has all messages of a day come once more.
func repeat(s *system) {
	shop(s)
	s.verified() // until nothing more is said
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.ConsumeRegex(), kgo.ConsumeTopics(`^ecommerce\.`), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Topic[0] == 'e' {
			left += o.Offset
		}
	})
	var again []*kgo.Record
	for int64(len(again)) < left {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			again = append(again, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
		})
	}
	if err := client.ProduceSync(ctx, again...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// jam has what shipping says pile up: the broker has no leader for it, for a moment.
func jam(s *system) {
	const refusals, orders = 5, 8
	for range orders {
		s.broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "ecommerce.shipping.status", Err: kerr.NotLeaderForPartition, Count: refusals})
		s.reaches(s.place(s.routers[0], "pm_accepted", "BA1 1AA"), "DELIVERED")
	}
}

// replicas are both told that a refund which the provider refused was settled: first the one that comes late and has read
// nothing yet, then the one that has had the payment's row in memory since before that.
func replicas(s *system) {
	first := s.routers[0]
	id := s.place(first, "pm_refund_refused", "SHIP-SLOW")
	s.await("it is paid", patience, func() bool { return s.is(id, "PAID") })
	s.cancel(first, id)
	s.await("the refund is refused", patience, func() bool {
		_, answer := request(s.t, http.MethodGet, "http://"+first.url+"/payments/"+id, "")
		return strings.Contains(string(answer), `"status":"REFUND_FAILED"`)
	})
	for _, at := range []*router{s.start(), first} {
		request(s.t, http.MethodPost, "http://"+at.url+"/payments/"+id+"/refund", `{"action":"settled","note":"paid in cash"}`)
	}
	s.await("it is over", patience, func() bool { return s.is(id, "CANCELLED") })
}

// refuse has the broker refuse an event for good, once.
func refuse(s *system) {
	s.broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "ecommerce.notification.sent", Err: kerr.MessageTooLarge})
	shop(s)
}

// rollback has an order's transaction fail at its very end, and the router die before it can try again.
func rollback(s *system) {
	at := s.routers[0]
	s.reaches(s.place(at, "pm_accepted", "BA1 1AA"), "DELIVERED") // the relay is at work
	s.exec(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RAISE 'no'; END $$`)
	s.exec(`CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON orders.orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		request(s.t, http.MethodPost, "http://"+at.url+"/orders", `{"customerId":"c-1","currency":"EUR","paymentMethod":"pm_accepted","items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250}]}`)
	}()
	s.await("it is at its end", patience, func() bool {
		var sleeping bool
		if err := s.db.QueryRowContext(s.t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`).Scan(&sleeping); err != nil {
			s.t.Fatal(err)
		}
		return sleeping
	})
	s.await("what was published early is published", time.Second, func() bool { return false })
	at.kill()
	<-answered
	s.await("the transaction has failed", patience, func() bool {
		var sleeping bool
		if err := s.db.QueryRowContext(s.t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`).Scan(&sleeping); err != nil {
			s.t.Fatal(err)
		}
		return !sleeping
	})
	s.exec(`DROP TRIGGER fails ON orders.orders`)
	s.restart(at)
}

// crash kills the router while the notification service cannot write.
func crash(s *system) {
	at := s.routers[0]
	s.reaches(s.place(at, "pm_accepted", "BA1 1AA"), "DELIVERED")
	tx, err := s.db.BeginTx(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(s.t.Context(), `LOCK TABLE notification.orders IN EXCLUSIVE MODE`); err != nil {
		s.t.Fatal(err)
	}
	s.reaches(s.place(at, "pm_accepted", "BA1 1AA"), "DELIVERED")
	s.await("offsets are committed, once a second", 2*time.Second, func() bool { return false })
	at.kill()
	if err := tx.Rollback(); err != nil {
		s.t.Fatal(err)
	}
	s.restart(at)
}

// restart runs a router again that was killed, and waits until it hears of everything: its groups wait for who is dead.
func (s *system) restart(r *router) {
	s.run(r)
	id := s.place(r, "pm_accepted", "BA1 1AA")
	s.await("an order is delivered again", patience, func() bool { return s.is(id, "DELIVERED") })
}

// poison has the shipping service refuse an order.
func poison(s *system) {
	s.exec(`ALTER TABLE shipping.shipments ADD CONSTRAINT poisoned CHECK (state::text = '{}') NOT VALID`)
	s.place(s.routers[0], "pm_accepted", "BA1 1AA")
	s.await("there is a letter", patience, func() bool {
		var n int
		if err := s.db.QueryRowContext(s.t.Context(), `SELECT count(*) FROM deadletter.letters WHERE status = 'new'`).Scan(&n); err != nil {
			s.t.Fatal(err)
		}
		return n > 0
	})
}

// ask asks for one thing again and again.
func ask(s *system) {
	const often = 300
	at := s.routers[0]
	id := s.place(at, "pm_declined", "BA1 1AA")
	s.reaches(id, "CANCELLED")
	for range often {
		s.cancel(at, id)
	}
}
