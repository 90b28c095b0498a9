package demo

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestSumsThatDoNotAddUpAreProblems(t *testing.T) {
	accepted := func(o *Options) { o.Orders, o.Mix = 10, Mix{[]part{{scenarios[0], 1}}} }
	t.Run("stock", func(t *testing.T) {
		s := newShop()
		s.stock[0].Sold++
		wantProblem(t, play(t, s, accepted), 1, "the stock of MUG-BLUE does not add up")
	})
	t.Run("negative stock", func(t *testing.T) {
		s := newShop()
		s.stock[2].Available, s.stock[2].Sold = -1, 1
		wantProblem(t, play(t, s, accepted), 1, "the stock of NO-MUG does not add up")
	})
	t.Run("money kept for a cancelled order", func(t *testing.T) {
		s := newShop()
		s.payment = func(_ *shopOrder, p *paymentBody) { p.Status = "SUCCEEDED" }
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "declined") })
		if len(r.Problems) < 2 || !strings.Contains(r.Problems[0], "is CANCELLED, but its payment") ||
			!strings.Contains(r.Problems[1], "the money does not add up") {
			t.Errorf("problems %q", r.Problems)
		}
	})
	t.Run("a cent too much", func(t *testing.T) {
		s := newShop()
		s.payment = func(o *shopOrder, p *paymentBody) { p.Amount++ }
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "accepted") })
		wantProblem(t, r, 2, "is DELIVERED, but its payment of 4.50 EUR is 4.51 EUR, SUCCEEDED")
	})
	t.Run("two orders for one key", func(t *testing.T) {
		s := newShop()
		s.forgetful = true
		lost := false
		s.lose = func(r *http.Request) bool {
			first := r.Method == http.MethodPost && !lost
			lost = lost || first
			return first
		}
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "accepted") })
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "order 00000000-0000-0000-0000-000000000001 is there") {
			t.Errorf("problems %q", r.Problems)
		}
	})
	t.Run("an order that is gone", func(t *testing.T) {
		s := newShop()
		s.unlisted = "00000000-0000-0000-0000-000000000001"
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 2, mix(t, "accepted") })
		wantProblem(t, r, 1, "order 00000000-0000-0000-0000-000000000001 (accepted): accepted, but not among the orders")
	})
}

func TestOtherPeoplesOrdersAreNoProblemForAnalytics(t *testing.T) {
	s := newShop()
	var once sync.Once
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			once.Do(func() { s.outside["placed"], s.outside["revenue"] = 3, 999 })
		}
		return true
	}
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 5, mix(t, "declined") })
	if len(r.Problems) > 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "analytics counts 8 new orders and 9.99 EUR, this run 5 and 0.00 EUR") {
		t.Errorf("problems %q, notes %q", r.Problems, r.Notes)
	}
}
