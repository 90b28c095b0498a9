package payment

import (
	"context"
	"strings"
	"time"

	"millrace/event"
)

// Gateway is the payment provider. An order has at most one charge, under the key
// Request.ChargeKey; Find, Void and Refund are about that one.
//
// Every call carries an idempotency key: a call repeated with the same key has no
// further effect and gets the same answer. An error means that no answer is known
// (the call may or may not have had its effect) and the caller asks again with
// the same key; an error with a method RetryAfter() time.Duration says when. A
// refusal is an outcome, not an error.
type Gateway interface {
	// Charge takes the money: Captured, Declined or Pended.
	Charge(ctx context.Context, r Request) (Result, error)
	// Find tells what became of the charge: Captured, Declined or Pended. A charge
	// the provider has never heard of is an error.
	Find(ctx context.Context, r Request) (Result, error)
	// Void ends the charge. Voided and Declined promise that nothing is captured
	// and that no later Charge with this order's key can capture, even one already
	// on its way or the first to arrive. Captured says that it is too late: the
	// money is taken, and Void leaves it so.
	Void(ctx context.Context, r Request) (Result, error)
	// Refund gives the whole captured amount back: Refunded, or Refused for good.
	Refund(ctx context.Context, r Request) (Result, error)
}

// Request is what the provider needs to know for a call.
type Request struct {
	OrderID event.OrderID
	// Step is the wait the call stands for.
	Step string
	// Total is the amount of the charge, in minor units.
	Total event.Money
	// PaymentMethod is the customer's, as given with the order.
	PaymentMethod string
}

// Key is the call's idempotency key.
func (r Request) Key() string { return string(r.OrderID) + "/" + r.Step }

// ChargeKey is the idempotency key of the order's charge.
func (r Request) ChargeKey() string { return string(r.OrderID) + "/" + StepCharge }

// Outcome is what the provider answered.
type Outcome string

// The outcomes. Captured, Declined and Pended are about a charge, Voided is Void's
// success, Refunded and Refused are Refund's.
const (
	Captured Outcome = "captured"
	Declined Outcome = "declined"
	Pended   Outcome = "pending"
	Voided   Outcome = "voided"
	Refunded Outcome = "refunded"
	Refused  Outcome = "refused"
)

// Result is the provider's answer to a call.
type Result struct {
	Outcome Outcome
	// ProviderRef is the provider's name for the charge or the refund.
	ProviderRef string
	// Message says why, for Declined and Refused.
	Message string
	// ExpiresAt is when the provider gives up on a pending charge.
	ExpiresAt time.Time
}

// maxText bounds each text a provider or an operator sends before it is stored and
// passed on, in bytes: a sentence or two.
const maxText = 500

// clean makes a text from outside safe to store and to pass on: valid UTF-8, no
// NUL (Postgres takes none), and no longer than maxText.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) <= maxText {
		return s
	}
	// Cutting may split the last character; what is left of it goes too.
	return strings.ToValidUTF8(s[:maxText], "")
}

func (r Result) cleaned() Result {
	r.ProviderRef, r.Message = clean(r.ProviderRef), clean(r.Message)
	return r
}
