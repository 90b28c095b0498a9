//go:build unix

package story_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"millrace/event"
)

const (
	// customersAtOnce send their orders side by side.
	customersAtOnce = 8
	// askAgain is how long a customer waits after an answer that says nothing for sure.
	askAgain = 100 * time.Millisecond
	// articlesForCrowd are few, so that orders meet at their levels.
	articlesForCrowd = 4
	// inPlenty is more pieces than any crowd buys.
	inPlenty = 1_000_000
)

// crowd is many orders of every kind, placed while the system fails. Whoever gets no answer
// asks again with the same Idempotency-Key, until it is 202.
type crowd struct {
	*shop
	// regrets tells whether the customer of the i-th order thinks better of it at once.
	regrets func(i int) bool
	// mayFail: dead letters are what the test is about. None may be open at the end.
	mayFail bool
	done    sync.WaitGroup
	mu      sync.Mutex
	orders  map[string]*placed // by order id
	wrong   []error
}

// startCrowd places that many orders; a customer rests between two. Of one article there
// are too few pieces.
func (s *shop) startCrowd(orders int, rest time.Duration) *crowd {
	s.t.Helper()
	return s.startCrowdOf(s.ordersOfEveryKind(orders), rest, func(i int) bool { return i%10 == 3 })
}

// ordersOfEveryKind share a few articles.
func (s *shop) ordersOfEveryKind(orders int) []newOrder {
	s.t.Helper()
	var shelf []string
	for range articlesForCrowd {
		shelf = append(shelf, s.article(inPlenty))
	}
	scarce := s.article(orders / 40) // every twentieth order wants one
	bodies := make([]newOrder, orders)
	for i := range orders {
		bodies[i] = s.order(buying(shelf[i%articlesForCrowd], int64(1+i%3)), ofKind(i, scarce))
	}
	return bodies
}

func (s *shop) startCrowdOf(bodies []newOrder, rest time.Duration, regrets func(i int) bool) *crowd {
	s.t.Helper()
	r := &crowd{shop: s, regrets: regrets, orders: map[string]*placed{}}
	queue := make(chan int, len(bodies))
	for i := range bodies {
		queue <- i
	}
	close(queue)
	for range customersAtOnce {
		r.done.Go(func() {
			pause := time.NewTicker(max(rest, time.Millisecond))
			defer pause.Stop()
			for i := range queue {
				r.place(i, bodies[i])
				<-pause.C
			}
		})
	}
	s.t.Cleanup(r.done.Wait) // customers give up before their shop closes
	return r
}

// ofKind makes one order in twenty each unlike the usual one.
func ofKind(i int, scarce string) wish {
	switch i % 20 {
	case 0:
		return buying(scarce, 1)
	case 2, 13:
		return paying("pm_declined")
	case 4, 15:
		return paying("pm_pending_accepted")
	case 6:
		return paying("pm_pending_declined")
	case 8, 17:
		return paying("pm_timeout")
	case 10:
		return paying("pm_unavailable")
	case 12:
		return shippedTo("SHIP-REFUSED")
	case 14:
		return shippedTo("SHIP-LOST")
	case 16:
		return collected()
	}
	return func(*newOrder) {}
}

// place places one order; some customers change their mind at once.
func (r *crowd) place(i int, body newOrder) {
	o := &placed{shop: r.shop, correlation: "crowd-of-" + body.CustomerID, body: body}
	sent, err := json.Marshal(body)
	if err != nil {
		r.fail(err)
		return
	}
	var accepted struct{ OrderID string }
	answer, err := r.insist("/orders", header{"Idempotency-Key": body.CustomerID, "X-Correlation-ID": o.correlation}, sent, http.StatusAccepted)
	if err == nil {
		err = json.Unmarshal(answer, &accepted)
	}
	if err != nil {
		r.fail(err)
		return
	}
	o.id = accepted.OrderID
	r.mu.Lock()
	r.orders[o.id] = o
	r.mu.Unlock()
	if r.regrets(i) {
		if _, err := r.insist("/orders/"+o.id+"/cancel", nil, nil, http.StatusAccepted, http.StatusConflict); err != nil {
			r.fail(err)
		}
	}
}

// insist repeats a POST until its answer has one of the statuses. No answer, and 5xx, say
// nothing for sure; another status is wrong.
func (r *crowd) insist(path string, h header, body []byte, want ...int) (answer []byte, err error) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	var status int
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); <-again.C {
		status, answer, err = r.try(http.MethodPost, path, h, body)
		for _, w := range want {
			if err == nil && status == w {
				return answer, nil
			}
		}
		if err == nil && status < http.StatusInternalServerError {
			return nil, fmt.Errorf("POST %s answers %d, want %v: %s", path, status, want, answer)
		}
	}
	return nil, fmt.Errorf("POST %s was not taken for %v: %d %s: %w", path, 2*patience, status, answer, cmp.Or(err, errNotThere))
}

func (r *crowd) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, err)
}

// allTaken waits until every order is accepted.
func (r *crowd) allTaken() {
	r.t.Helper()
	r.done.Wait()
	for _, err := range r.wrong {
		r.t.Error(err)
	}
}

// underWay counts the orders that have not ended; from the database, since it is asked while
// the router is away.
func (r *crowd) underWay() (n int, err error) {
	err = r.books.QueryRow(`SELECT count(*) FROM orders.orders WHERE status NOT IN ($1, $2, $3)`,
		event.OrderDelivered, event.OrderIsCancelled, event.OrderNeedsAttention).Scan(&n)
	return n, err
}

// allEnd waits until every accepted order has ended. Its patience begins anew with each that does.
func (r *crowd) allEnd() {
	r.t.Helper()
	r.allTaken()
	tick := time.NewTicker(look)
	defer tick.Stop()
	deadline, least := time.Now().Add(patience), len(r.orders)+1
	for ; ; <-tick.C {
		n, err := r.underWay()
		switch {
		case err == nil && n == 0:
			return
		case err == nil && n < least:
			deadline, least = time.Now().Add(patience), n
		case time.Now().After(deadline):
			r.t.Fatalf("%d of %d orders are under way, and none ended for %v: %v", n, len(r.orders), patience, err)
		}
	}
}
