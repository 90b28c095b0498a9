package demo

import (
	"net/http"
	"strings"
	"testing"
)

func TestWhatTheShopShowsHasToFit(t *testing.T) {
	t.Run("money kept for a cancelled order", func(t *testing.T) {
		s := newShop()
		s.payment = func(_ *shopOrder, p *paymentBody) { p.Status = "SUCCEEDED" }
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "declined") })
		wantProblem(t, r, 1, "is CANCELLED, but its payment")
	})
	t.Run("a cent too much", func(t *testing.T) {
		s := newShop()
		s.payment = func(o *shopOrder, p *paymentBody) { p.Amount++ }
		r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "accepted") })
		wantProblem(t, r, 1, "is DELIVERED, but its payment of 4.50 EUR is 4.51 EUR, SUCCEEDED")
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
