package payment_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/payment"
)

var (
	initiated = event.PaymentInitiated{
		OrderID: orderID, CustomerID: "c-42",
		Items:         []event.Item{{SKU: "MUG-RED", Quantity: 2, UnitPrice: 1250}},
		Total:         event.Money{Amount: 2500, Currency: "EUR"},
		PaymentMethod: "pm_accepted", ShippingAddress: &event.Address{Name: "Ada Byron", City: "Bath"},
	}
	cancelled = event.OrderCancelled{OrderID: orderID, Reason: event.ReasonCustomer}
)

// scripted is a provider that gives one prepared answer to whatever it is asked.
type scripted struct {
	result payment.Result
	err    error
	last   payment.Request
}

func (g *scripted) answer(r payment.Request) (payment.Result, error) {
	g.last = r
	return g.result, g.err
}
func (g *scripted) Charge(_ context.Context, r payment.Request) (payment.Result, error) {
	return g.answer(r)
}
func (g *scripted) Find(_ context.Context, r payment.Request) (payment.Result, error) {
	return g.answer(r)
}
func (g *scripted) Void(_ context.Context, r payment.Request) (payment.Result, error) {
	return g.answer(r)
}
func (g *scripted) Refund(_ context.Context, r payment.Request) (payment.Result, error) {
	return g.answer(r)
}

// inputs is everything that can happen to a payment. The answers are those to the
// call the row waits for; where it waits for another, they are dropped.
var inputs = map[string]func(*rows) error{
	"initiated": func(r *rows) error { return service(r, nil).Initiate(r.cause(), initiated) },
	"cancelled": func(r *rows) error { return service(r, nil).Cancel(r.cause(), cancelled) },
	"deadline":  step(event.DeadlineStep, ""),

	"charge captured":  step(payment.StepCharge, payment.Captured),
	"charge declined":  step(payment.StepCharge, payment.Declined),
	"charge pending":   step(payment.StepCharge, payment.Pended),
	"ask captured":     step(payment.StepAsk, payment.Captured),
	"ask declined":     step(payment.StepAsk, payment.Declined),
	"void voided":      step(payment.StepVoid, payment.Voided),
	"void captured":    step(payment.StepVoid, payment.Captured),
	"void declined":    step(payment.StepVoid, payment.Declined),
	"refund done":      step(payment.StepRefund, payment.Refunded),
	"refund refused":   step(payment.StepRefund, payment.Refused),
	"refund-2 done":    step("refund-2", payment.Refunded),
	"refund-2 refused": step("refund-2", payment.Refused),

	"callback captured": callback(payment.Captured),
	"callback declined": callback(payment.Declined),
	"operator retry":    resolve(payment.RetryRefund),
	"operator settled":  resolve(payment.SettleRefund),
}

func service(r *rows, g payment.Gateway) *payment.Service { return payment.NewService(r, g) }

func step(name string, outcome payment.Outcome) func(*rows) error {
	return func(r *rows) error {
		if !r.waits(name) {
			return nil
		}
		gateway := &scripted{result: payment.Result{
			Outcome: outcome, ProviderRef: "ref", Message: "because", ExpiresAt: time.Unix(1_790_000_000, 0),
		}}
		const attempt = 1
		change, err := service(r, gateway).Perform(r.cause(), r.load(), name, attempt)
		if err != nil {
			return err
		}
		return r.answer(r.cause(), name, change)
	}
}

func callback(outcome payment.Outcome) func(*rows) error {
	return func(r *rows) error {
		return service(r, nil).Callback(r.cause(), payment.Callback{OrderID: orderID, Outcome: outcome, ProviderRef: "ref"})
	}
}

func resolve(action payment.RefundAction) func(*rows) error {
	return func(r *rows) error { return service(r, nil).Resolve(r.cause(), orderID, action, "note") }
}

// states is every state a row can be in, by one way that leads there. Rows that
// differ in what they may still say are different states.
var states = map[string][]string{
	"absent":                        {},
	"tombstone":                     {"cancelled"},
	"failed: cancelled before":      {"cancelled", "initiated"},
	"charging":                      {"initiated"},
	"pending":                       {"initiated", "charge pending"},
	"voiding for the deadline":      {"initiated", "deadline"},
	"voiding for the cancel":        {"initiated", "cancelled"},
	"succeeded":                     {"initiated", "charge captured"},
	"failed: declined":              {"initiated", "charge declined"},
	"failed: expired":               {"initiated", "deadline", "void voided"},
	"failed: cancelled":             {"initiated", "cancelled", "void voided"},
	"refunding before success":      {"initiated", "cancelled", "void captured"},
	"refunding after success":       {"initiated", "charge captured", "cancelled"},
	"refunded before success":       {"initiated", "cancelled", "void captured", "refund done"},
	"refunded after success":        {"initiated", "charge captured", "cancelled", "refund done"},
	"refused before success":        {"initiated", "cancelled", "void captured", "refund refused"},
	"refused after success":         {"initiated", "charge captured", "cancelled", "refund refused"},
	"second refund after success":   {"initiated", "charge captured", "cancelled", "refund refused", "operator retry"},
	"second refusal after success":  {"initiated", "charge captured", "cancelled", "refund refused", "operator retry", "refund-2 refused"},
	"settled after success":         {"initiated", "charge captured", "cancelled", "refund refused", "operator settled"},
	"refunding after a broken void": {"initiated", "cancelled", "void voided", "callback captured"},
}

const (
	success       = "SUCCEEDED: PaymentSucceeded InventoryUpdate ShippingInitiate"
	refundFollows = "REFUNDING: PaymentFailed(CANCELLED, refund follows)"
	cancelledOnly = "FAILED: PaymentFailed(CANCELLED)"
	unknownOrder  = "error: unknown order"
	noRefund      = "error: payment: no refused refund to resolve"
)

// transitions says what each input does in each state. A pair that is not here
// changes nothing and says nothing; for commands see refusals.
var transitions = map[string]map[string]string{
	"absent": {
		"initiated": "CHARGING:",
		"cancelled": ": PaymentFailed(CANCELLED)",
	},
	"tombstone": {"initiated": "FAILED:"},
	"charging": {
		"cancelled": "VOIDING:", "deadline": "VOIDING:",
		"charge captured": success, "callback captured": success,
		"charge declined": "FAILED: PaymentFailed(DECLINED)", "callback declined": "FAILED: PaymentFailed(DECLINED)",
		"charge pending": "PENDING: PaymentPending",
	},
	"pending": {
		"cancelled": "VOIDING:", "deadline": "VOIDING:",
		"ask captured": success, "callback captured": success,
		"ask declined": "FAILED: PaymentFailed(DECLINED)", "callback declined": "FAILED: PaymentFailed(DECLINED)",
	},
	"voiding for the deadline": {
		"cancelled":     "VOIDING:",
		"void voided":   "FAILED: PaymentFailed(EXPIRED)",
		"void captured": success, "callback captured": success,
		"void declined": "FAILED: PaymentFailed(DECLINED)", "callback declined": "FAILED: PaymentFailed(DECLINED)",
	},
	"voiding for the cancel": {
		"void voided": cancelledOnly, "void declined": cancelledOnly, "callback declined": cancelledOnly,
		"void captured": refundFollows, "callback captured": refundFollows,
	},
	"succeeded": {"cancelled": "REFUNDING:"},
	// The provider broke its word: what it captured goes back.
	"failed: cancelled before": {"callback captured": "REFUNDING:"},
	"failed: declined":         {"callback captured": "REFUNDING:", "cancelled": "FAILED:"},
	"failed: expired":          {"callback captured": "REFUNDING:", "cancelled": "FAILED:"},
	"failed: cancelled":        {"callback captured": "REFUNDING:"},
	"refunding before success": {
		"refund done":    "REFUNDED: PaymentRefunded(before success)",
		"refund refused": "REFUND_FAILED: PaymentRefundFailed",
	},
	"refunding after a broken void": {
		"refund done":    "REFUNDED: PaymentRefunded(before success)",
		"refund refused": "REFUND_FAILED: PaymentRefundFailed",
	},
	"refunding after success": {
		"refund done":    "REFUNDED: PaymentRefunded(after success)",
		"refund refused": "REFUND_FAILED: PaymentRefundFailed",
	},
	"refused before success": {
		"operator retry":   "REFUNDING:",
		"operator settled": "REFUNDED: PaymentRefunded(before success)",
	},
	"refused after success": {
		"operator retry":   "REFUNDING:",
		"operator settled": "REFUNDED: PaymentRefunded(after success)",
	},
	"second refund after success": {
		"refund-2 done":    "REFUNDED: PaymentRefunded(after success)",
		"refund-2 refused": "REFUND_FAILED: PaymentRefundFailed",
	},
	"second refusal after success": {
		"operator retry":   "REFUNDING:",
		"operator settled": "REFUNDED: PaymentRefunded(after success)",
	},
}

// refusals is what a command is told where it does not apply.
func refusal(state, input string) string {
	isCallback, isOperator := strings.HasPrefix(input, "callback"), strings.HasPrefix(input, "operator")
	switch {
	case (state == "absent" || state == "tombstone") && (isCallback || isOperator):
		return unknownOrder
	case isOperator:
		return noRefund
	}
	return ""
}

func TestEveryStateAndInput(t *testing.T) {
	for state := range transitions {
		if states[state] == nil {
			t.Fatalf("the table speaks of a state %q that nothing leads to", state)
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		for _, input := range slices.Sorted(maps.Keys(inputs)) {
			t.Run(state+"/"+input, func(t *testing.T) {
				r := reach(t, state)
				before, said := r.load(), len(r.said)
				err := inputs[input](r)
				got := tell(r, said, err)
				want, changes := transitions[state][input]
				if !changes {
					want = refusal(state, input)
					if want == "" {
						want = string(before.Status) + ":"
					}
					if diff := cmp.Diff(before, r.load()); diff != "" {
						t.Errorf("the row changed (-before +after):\n%s", diff)
					}
				}
				if got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	}
}

// Whatever happens twice, by the same cause, happens once.
func TestEveryCauseCountsOnce(t *testing.T) {
	for _, state := range slices.Sorted(maps.Keys(states)) {
		for _, input := range []string{"initiated", "cancelled", "callback captured", "callback declined"} {
			r := reach(t, state)
			first := inputs[input](r)
			once, said := r.load(), len(r.said)
			r.causes-- // the same cause again
			if err := inputs[input](r); fmt.Sprint(err) != fmt.Sprint(first) {
				t.Errorf("%s, %s again: %v, first %v", state, input, err, first)
			}
			if diff := cmp.Diff(once, r.load()); diff != "" || len(r.said) != said {
				t.Errorf("%s, %s again: said %v, row changed:\n%s", state, input, r.said[said:], diff)
			}
		}
	}
}

func reach(t *testing.T, state string) *rows {
	t.Helper()
	r := &rows{}
	for _, input := range states[state] {
		if err := inputs[input](r); err != nil {
			t.Fatalf("on the way to %q: %s: %v", state, input, err)
		}
	}
	return r
}

// tell puts what happened into one line: the status, and what was said.
func tell(r *rows, said int, err error) string {
	for _, known := range []error{event.ErrUnknownOrder, payment.ErrNoRefusedRefund} {
		if errors.Is(err, known) {
			return "error: " + known.Error()
		}
	}
	if err != nil {
		return "error: " + err.Error()
	}
	line := string(r.load().Status) + ":"
	for _, e := range r.said[said:] {
		line += " " + strings.TrimPrefix(fmt.Sprintf("%T", e), "event.")
		switch e := e.(type) {
		case event.PaymentFailed:
			line += "(" + string(e.Reason)
			if e.RefundFollows {
				line += ", refund follows"
			}
			line += ")"
		case event.PaymentRefunded:
			line += map[bool]string{true: "(after success)", false: "(before success)"}[e.AfterSuccess]
		}
	}
	return line
}
