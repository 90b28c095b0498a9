//go:build unix

package story_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
	"millrace/testserver"
)

const (
	// rush is how many orders are placed while a replica dies: enough that all services
	// and both replicas have many of them under way at any time.
	rush = 240
	// tills is how many place them at once.
	tills = 8
	// hot is how many of the orders want an article of which there are too few.
	hot, hotPieces = rush / 4, rush / 8
)

// Two replicas share groups and database; one of them is killed in the rush. Every order
// that was accepted ends, and the audit finds all sums right.
func TestOneOfTwoReplicasIsKilledUnderLoad(t *testing.T) {
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	env := unhurried.with(settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers})
	first, second := startNode(t, env), startNode(t, env)
	s := openShop(t, dsn, first, second)
	s.auditAtTheEnd(brokers)
	scarce, plenty := s.article(hotPieces), s.article(rush*wanted)

	methods := []string{"pm_accepted", "pm_accepted", "pm_declined", "pm_pending_accepted", "pm_pending_declined", "pm_timeout"}
	var orders [rush]*placed
	var next atomic.Int64
	var all sync.WaitGroup
	halfWay := make(chan struct{})
	for range tills {
		all.Go(func() {
			for i := next.Add(1) - 1; i < rush; i = next.Add(1) - 1 {
				o := s.order(buying(plenty, wanted), paying(methods[int(i)%len(methods)]))
				if i%(rush/hot) == 0 {
					o = s.order(buying(scarce, 1))
				}
				orders[i] = s.insists(o)
				if orders[i] != nil && i%10 == 3 { // a customer who thinks better of it
					_, _, _ = s.try(http.MethodPost, "/orders/"+orders[i].id+"/cancel", nil, nil) // 202 and 409 are both right, and no answer too
				}
				if i == rush/2 {
					close(halfWay)
				}
			}
		})
	}
	<-halfWay
	first.kill()
	all.Wait()

	for i, o := range orders {
		if o == nil {
			t.Fatalf("order %d was not accepted", i)
		}
	}
	sold := 0
	for i, o := range orders {
		end := o.endsSomehow()
		if i%(rush/hot) == 0 && end == event.OrderDelivered {
			sold++
		}
	}
	var level struct{ Available, Sold int }
	s.do(http.MethodGet, "/inventory/"+scarce, nil, nil, http.StatusOK, &level)
	if level.Sold != sold || level.Available != hotPieces-sold {
		t.Errorf("%d orders of the scarce article were delivered, and its stock is %+v of %d", sold, level, hotPieces)
	}
}

// insists places an order as a shop does: with a key, again until it is accepted. From any
// goroutine; nil if it never was.
func (s *shop) insists(body newOrder) *placed {
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Errorf("encode an order: %v", err)
		return nil
	}
	o := &placed{shop: s, body: body, correlation: "story-of-" + body.CustomerID, sharesArticle: true}
	h := header{"Idempotency-Key": "basket of " + body.CustomerID, "X-Correlation-ID": o.correlation}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		status, answer, err := s.try(http.MethodPost, "/orders", h, text)
		if err != nil || status >= http.StatusInternalServerError {
			continue // the replica is gone, or busy; another one answers
		}
		var accepted struct{ OrderID string }
		if status != http.StatusAccepted || json.Unmarshal(answer, &accepted) != nil {
			s.t.Errorf("POST /orders answers %d %s", status, answer)
			return nil
		}
		o.id = accepted.OrderID
		return o
	}
	return nil
}

// endsSomehow waits until the order has ended, however.
func (o *placed) endsSomehow() (end event.OrderStatus) {
	o.t.Helper()
	eventually(o.t, "order "+o.id+" ends", func() error {
		var view struct{ Status event.OrderStatus }
		if err := o.read("/orders/"+o.id+"/status", &view); err != nil {
			return err
		}
		end = view.Status
		if end != event.OrderDelivered && end != event.OrderIsCancelled {
			return fmt.Errorf("it is %s", end)
		}
		return nil
	})
	return end
}
