package simulator_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/handlers/payment/simulator"
)

const orderID event.OrderID = "0199c0de-0000-7000-8000-000000000001"

func request(step, method string) payment.Request {
	return payment.Request{
		OrderID: orderID, Step: step, PaymentMethod: method,
		Total: event.Money{Amount: 2500, Currency: "EUR"},
	}
}

// say is an answer in a word.
func say(r payment.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	return string(r.Outcome)
}

// What each test payment method does, call by call.
func TestMethods(t *testing.T) {
	down, lost := simulator.ErrDown.Error(), simulator.ErrAnswerLost.Error()
	const later = "…" // the time it takes to decide passes
	tests := map[string][]string{
		simulator.Accepted:        {"captured", "captured"},
		simulator.Declined:        {"declined", "declined"},
		simulator.PendingAccepted: {"pending", "pending", later, "captured", "captured"},
		simulator.PendingDeclined: {"pending", "pending", later, "declined", "declined"},
		simulator.PendingForever:  {"pending", later, "pending"},
		simulator.Timeout:         {lost, lost, "captured", "captured"},
		simulator.Unavailable:     {down, down, down, "captured", "captured"},
		simulator.RefundRefused:   {"captured", "captured"},
		"pm_of_another_world":     {"declined", "declined"},
		"":                        {"declined", "declined"},
	}
	for method, want := range tests {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ledger := simulator.NewMemory()
				var got []string
				for _, w := range want {
					if w == later {
						time.Sleep(simulator.DefaultDelay) // the bubble's clock
						got = append(got, later)
						continue
					}
					// A new provider each time: nothing may depend on its memory.
					got = append(got, say(simulator.New(ledger, simulator.Config{}).Charge(t.Context(), request("charge", method))))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("charges (-want +got):\n%s", diff)
				}
				captures := 0
				if want[len(want)-1] == "captured" {
					captures = 1
				}
				if a := ledger.Account(orderID); a.Captures != captures || a.CapturedAmount != int64(2500*captures) || a.Refunded != 0 {
					t.Errorf("%d captures of %d in all, %d refunds; want %d captures and no refund", a.Captures, a.CapturedAmount, a.Refunded, captures)
				}
			})
		})
	}
}

// A charge that lost its answers was captured all the same: whoever asks, finds out.
func TestALostAnswerCanBeFound(t *testing.T) {
	p := simulator.New(simulator.NewMemory(), simulator.Config{})
	if _, err := p.Find(t.Context(), request("ask", simulator.Timeout)); !errors.Is(err, simulator.ErrNoCharge) {
		t.Errorf("before the charge: %v, want ErrNoCharge", err)
	}
	if got := say(p.Charge(t.Context(), request("charge", simulator.Timeout))); got != simulator.ErrAnswerLost.Error() {
		t.Fatalf("charge: %s", got)
	}
	if got := say(p.Find(t.Context(), request("ask", simulator.Timeout))); got != "captured" {
		t.Errorf("find: %s, want captured", got)
	}
	if got := say(p.Void(t.Context(), request("void", simulator.Timeout))); got != "captured" {
		t.Errorf("void: %s, want captured: it is too late", got)
	}
}

func TestVoid(t *testing.T) {
	tests := []struct {
		method, void, charge string
		charged              bool
	}{
		{simulator.Accepted, "voided", "declined", false},
		{simulator.Timeout, "voided", simulator.ErrAnswerLost.Error(), false},
		{simulator.Accepted, "captured", "captured", true},
		{simulator.Declined, "declined", "declined", true},
		{simulator.PendingAccepted, "voided", "declined", true},
		{simulator.PendingForever, "voided", "declined", true},
		{simulator.Unavailable, "voided", simulator.ErrDown.Error(), true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/charged %t", tt.method, tt.charged), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ledger := simulator.NewMemory()
				p := simulator.New(ledger, simulator.Config{})
				charge := func() string { return say(p.Charge(t.Context(), request("charge", tt.method))) }
				if tt.charged {
					charge()
				}
				for range 2 {
					if got := say(p.Void(t.Context(), request("void", tt.method))); got != tt.void {
						t.Errorf("void: %s, want %s", got, tt.void)
					}
				}
				time.Sleep(2 * simulator.DefaultDelay) // the bubble's clock: what was pending would be decided now
				got := charge()
				for range 4 { // past the lost answers and the refused connections
					got = charge()
				}
				if tt.void == "voided" && got != "declined" || tt.void != "voided" && got != tt.charge {
					t.Errorf("charge after void: %s", got)
				}
				if captures := ledger.Account(orderID).Captures; tt.void == "voided" && captures != 0 {
					t.Errorf("captured %d times after void", captures)
				}
			})
		})
	}
}

func TestRefund(t *testing.T) {
	tests := []struct {
		method string
		want   []string // refund, refund again, refund-2
		back   int
	}{
		{simulator.Accepted, []string{"refunded", "refunded", "refused"}, 1},
		{simulator.RefundRefused, []string{"refused", "refused", "refused"}, 0},
		{simulator.Declined, []string{"refused", "refused", "refused"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.method, func(t *testing.T) {
			ledger := simulator.NewMemory()
			p := simulator.New(ledger, simulator.Config{})
			say(p.Charge(t.Context(), request("charge", tt.method)))
			var got []string
			for _, step := range []string{"refund", "refund", "refund-2"} {
				got = append(got, say(p.Refund(t.Context(), request(step, tt.method))))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("refunds (-want +got):\n%s", diff)
			}
			if a := ledger.Account(orderID); a.Refunded != tt.back || a.RefundedAmount != int64(tt.back)*a.CapturedAmount {
				t.Errorf("gave back %d times, %d of %d; want %d times", a.Refunded, a.RefundedAmount, a.CapturedAmount, tt.back)
			}
		})
	}
}

// The counts are a witness: a caller that charges under two keys is seen.
func TestTheLedgerTellsOnABadCaller(t *testing.T) {
	ledger := simulator.NewMemory()
	p := simulator.New(ledger, simulator.Config{})
	say(p.Charge(t.Context(), request("charge", simulator.Accepted)))
	say(p.Charge(t.Context(), request("charge-again", simulator.Accepted)))
	if got := ledger.Account(orderID).Captures; got != 2 {
		t.Errorf("%d captures counted, want 2", got)
	}
	changed := request("charge", simulator.Accepted)
	changed.Total.Amount++
	if _, err := p.Charge(t.Context(), changed); !errors.Is(err, simulator.ErrKeyReused) {
		t.Errorf("the same key for another amount: %v, want ErrKeyReused", err)
	}
}

// Whatever a caller with one key per step does, in any order and as often as it
// likes, Gateway's contract holds.
func TestContract(t *testing.T) {
	methods := []string{
		simulator.Accepted, simulator.Declined, simulator.PendingAccepted, simulator.PendingDeclined,
		simulator.PendingForever, simulator.Timeout, simulator.Unavailable, simulator.RefundRefused,
	}
	rapid.Check(t, func(rt *rapid.T) {
		method := rapid.SampledFrom(methods).Draw(rt, "method")
		calls := rapid.SliceOfN(rapid.SampledFrom([]string{"charge", "ask", "void", "refund", "refund-2", "wait"}), 1, 20).Draw(rt, "calls")
		synctest.Test(t, func(t *testing.T) {
			ledger := simulator.NewMemory()
			p := simulator.New(ledger, simulator.Config{})
			final := map[string]string{} // of each key, the answer that must not change
			for _, step := range calls {
				call := map[string]func() (payment.Result, error){
					"charge": func() (payment.Result, error) { return p.Charge(t.Context(), request(step, method)) },
					"ask":    func() (payment.Result, error) { return p.Find(t.Context(), request(step, method)) },
					"void":   func() (payment.Result, error) { return p.Void(t.Context(), request(step, method)) },
				}[step]
				switch {
				case step == "wait":
					time.Sleep(simulator.DefaultDelay)
					continue
				case call == nil:
					call = func() (payment.Result, error) { return p.Refund(t.Context(), request(step, method)) }
				}
				r, err := call()
				if err != nil || r.Outcome == payment.Pended {
					continue
				}
				if before, known := final[step]; known && before != string(r.Outcome) {
					rt.Fatalf("%s answered %s, before %s", step, r.Outcome, before)
				}
				final[step] = string(r.Outcome)
				if a := ledger.Account(orderID); a.Captures > 1 || a.Refunded > a.Captures || final["void"] == "voided" && a.Captures > 0 {
					rt.Fatalf("after %s: void %q, account %+v", step, final["void"], a)
				}
			}
		})
	})
}
