//go:build unix

package story_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"millrace/event"
)

// auditAtTheEnd looks, when the stories on the shop's system are over, at what must hold
// whatever happened. brokers is where the events are; empty where nothing keeps them.
func (s *shop) auditAtTheEnd(brokers string) {
	s.t.Cleanup(func() {
		if !s.t.Failed() { // what a failed story left half-way says nothing new
			s.audit(brokers)
		}
	})
}

func (s *shop) audit(brokers string) {
	s.t.Helper()
	var orders []*placed
	eventually(s.t, "every order has ended", func() (err error) {
		orders, err = s.allEnded()
		return err
	})
	eventually(s.t, "stock adds up", s.stockAddsUp)
	eventually(s.t, "money adds up", func() error { return s.moneyAddsUp(orders) })
	eventually(s.t, "analytics agree with the orders", func() error { return s.analyticsAgree(orders) })
	if brokers != "" {
		s.auditLog(brokers, orders)
	}
}

// allEnded returns every order there is; an error if one has not ended.
func (s *shop) allEnded() ([]*placed, error) {
	var all []*placed
	for cursor := ""; ; {
		var page struct {
			Orders     []struct{ OrderID, Status, CorrelationID string }
			NextCursor string
		}
		if err := s.read("/orders?limit=200&cursor="+cursor, &page); err != nil {
			return nil, err
		}
		for _, o := range page.Orders {
			if !slices.Contains([]string{"DELIVERED", "CANCELLED"}, o.Status) {
				return nil, fmt.Errorf("order %s is %s", o.OrderID, o.Status)
			}
			all = append(all, &placed{shop: s, id: o.OrderID, correlation: o.CorrelationID})
		}
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

func (s *shop) stockAddsUp() error {
	for cursor := ""; ; {
		var page struct {
			Inventory []struct {
				SKU                                           string
				Initial, Restocked, Available, Reserved, Sold int64
			}
			NextCursor string
		}
		if err := s.read("/inventory?limit=200&cursor="+cursor, &page); err != nil {
			return err
		}
		for _, l := range page.Inventory {
			if l.Initial+l.Restocked != l.Available+l.Reserved+l.Sold || l.Available < 0 || l.Sold < 0 || l.Reserved != 0 {
				return fmt.Errorf("%+v", l)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return nil
		}
	}
}

// moneyAddsUp compares what the payment service says with the provider's own books.
func (s *shop) moneyAddsUp(orders []*placed) error {
	for _, o := range orders {
		p, err := o.payment()
		if err != nil {
			return err
		}
		var books ending
		if err := o.looksInTheBooks(&books); err != nil {
			return err
		}
		settled := p.Refund != nil && p.Refund.Note != "" // by an operator, in another way
		var right bool
		switch p.Status {
		case "", "FAILED":
			right = books.Captured == 0 && books.Refunded == 0
		case "SUCCEEDED":
			right = books.Captured == 1 && books.Refunded == 0
		case "REFUNDED":
			right = books.Captured == 1 && (books.Refunded == 1 || settled)
		}
		if !right {
			return fmt.Errorf("order %s: the payment is %q, the provider captured %d and refunded %d", o.id, p.Status, books.Captured, books.Refunded)
		}
	}
	var twice int
	err := s.books.QueryRow("SELECT count(*) FROM provider.accounts WHERE captures > 1 OR refunded > captures").Scan(&twice)
	if err == nil && twice > 0 {
		err = fmt.Errorf("the provider moved the money of %d orders twice", twice)
	}
	return err
}

// summary is what GET /analytics/summary shows, as far as it can be recounted.
type summary struct {
	Orders      struct{ Placed, Paid, Shipped, Delivered, Cancelled int64 }
	CancelledBy map[string]int64
	Revenue     []struct {
		Currency string
		Amount   json.Number
	}
}

func (s *shop) analyticsAgree(orders []*placed) error {
	want := summary{CancelledBy: map[string]int64{}}
	var revenue int64
	for _, o := range orders {
		way, err := o.way()
		if err != nil {
			return err
		}
		want.Orders.Placed++
		for status, n := range map[event.OrderStatus]*int64{
			event.OrderPaid: &want.Orders.Paid, event.OrderShipped: &want.Orders.Shipped,
			event.OrderDelivered: &want.Orders.Delivered, event.OrderIsCancelled: &want.Orders.Cancelled,
		} {
			if slices.Contains(way, string(status)) {
				*n++
			}
		}
		var view struct{ Reason string }
		if err := o.read("/orders/"+o.id+"/status", &view); err != nil {
			return err
		}
		if view.Reason != "" {
			want.CancelledBy[view.Reason]++
		}
		p, err := o.payment()
		if err != nil {
			return err
		}
		if p.Status == "SUCCEEDED" {
			revenue += p.Amount
		}
	}
	var got summary
	if err := s.read("/analytics/summary", &got); err != nil {
		return err
	}
	var sum string
	if len(got.Revenue) > 0 {
		sum = got.Revenue[0].Amount.String()
	}
	got.Revenue = nil
	var problems []string
	if diff := gocmp.Diff(want, got); diff != "" {
		problems = append(problems, "(-recounted +analytics)\n"+diff)
	}
	if sum != fmt.Sprint(revenue) && (sum != "" || revenue != 0) {
		problems = append(problems, fmt.Sprintf("the revenue is %s, recounted %d", sum, revenue))
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return nil
}
