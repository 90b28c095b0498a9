package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"millrace/handlers/payment"
)

// Account is the provider's book for one order. It counts what really moved, so
// that someone who does not trust the payment service can check it.
type Account struct {
	// Charges are by idempotency key. A well-behaved caller has one.
	Charges map[string]Charge `json:"charges,omitempty"`
	// Refunds are by idempotency key.
	Refunds map[string]payment.Outcome `json:"refunds,omitempty"`
	// Captures counts how often money was taken, Refunded how often it went back.
	Captures int `json:"captures"`
	Refunded int `json:"refunded"`
	// CapturedAmount and RefundedAmount are the sums of that, in minor units of Currency.
	CapturedAmount int64  `json:"capturedAmount"`
	RefundedAmount int64  `json:"refundedAmount"`
	Currency       string `json:"currency,omitempty"`
}

// Charge is one charge in the book.
type Charge struct {
	Outcome payment.Outcome `json:"outcome,omitempty"` // empty: tried, but the provider was down
	Amount  int64           `json:"amount"`
	Method  string          `json:"method,omitempty"`
	Message string          `json:"message,omitempty"`
	// Tries counts the calls of Charge.
	Tries int `json:"tries"`
	// Decision is what a pending charge becomes at DecidesAt.
	Decision  payment.Outcome `json:"decision,omitempty"`
	DecidesAt time.Time       `json:"decidesAt,omitzero"`
	ExpiresAt time.Time       `json:"expiresAt,omitzero"`
}

// Empty tells whether nothing ever happened.
func (a *Account) Empty() bool { return len(a.Charges) == 0 && len(a.Refunds) == 0 }

// The test payment methods. Any other is declined.
const (
	Accepted        = "pm_accepted"
	Declined        = "pm_declined"
	PendingAccepted = "pm_pending_accepted"
	PendingDeclined = "pm_pending_declined"
	PendingForever  = "pm_pending_forever"
	Timeout         = "pm_timeout"
	Unavailable     = "pm_unavailable"
	RefundRefused   = "pm_refund_refused"
)

const (
	// lostAnswers is how many answers to a charge with Timeout get lost.
	lostAnswers = 2
	// downTries is for how many tries the provider is down with Unavailable.
	downTries = 3
	// expiresAfter is how long a pending charge lives. Longer than any deadline of the
	// payment service, so that its deadline is what ends pm_pending_forever.
	expiresAfter = time.Hour
)

// charge is one call of Charge under key.
func (a *Account) charge(r payment.Request, now time.Time, delay time.Duration) (payment.Result, error) {
	key := r.Key()
	c := a.look(key, now)
	if c.Tries > 0 && (c.Amount != r.Total.Amount || c.Method != r.PaymentMethod) {
		return payment.Result{}, ErrKeyReused
	}
	c.Tries++
	c.Amount, c.Method = r.Total.Amount, r.PaymentMethod
	if c.Outcome == "" && !(c.Method == Unavailable && c.Tries <= downTries) {
		c.begin(now, delay)
		if c.Outcome == payment.Captured {
			a.capture(c)
		}
	}
	a.Currency = r.Total.Currency
	a.put(key, c)
	switch {
	case c.Outcome == "":
		return payment.Result{}, ErrDown
	case c.Method == Timeout && c.Tries <= lostAnswers:
		return payment.Result{}, ErrAnswerLost
	}
	return c.result(key), nil
}

func (c *Charge) begin(now time.Time, delay time.Duration) {
	switch c.Method {
	case Accepted, Timeout, Unavailable, RefundRefused:
		c.Outcome = payment.Captured
	case PendingAccepted, PendingDeclined, PendingForever:
		c.Outcome, c.Decision = payment.Pended, payment.Declined
		c.ExpiresAt = now.Add(expiresAfter)
		c.DecidesAt = now.Add(delay)
		switch c.Method {
		case PendingAccepted:
			c.Decision = payment.Captured
		case PendingForever:
			c.DecidesAt = c.ExpiresAt
		}
	case Declined:
		c.Outcome, c.Message = payment.Declined, "the card was declined"
	default:
		c.Outcome, c.Message = payment.Declined, "unknown payment method"
	}
}

// find is a look at the charge under key.
func (a *Account) find(key string, now time.Time) (payment.Result, error) {
	c := a.look(key, now)
	if c.Outcome == "" {
		return payment.Result{}, ErrNoCharge
	}
	return c.result(key), nil
}

// void is one call of Void for the charge under key. A charge that never arrived
// is voided as well, so that it cannot arrive later.
func (a *Account) void(key string, now time.Time) payment.Result {
	c := a.look(key, now)
	if c.Outcome == "" || c.Outcome == payment.Pended {
		c.Outcome = payment.Voided
		a.put(key, c)
	}
	return c.result(key)
}

// refund is one call of Refund under key, for the charge under chargeKey.
func (a *Account) refund(key, chargeKey string, now time.Time) payment.Result {
	c := a.look(chargeKey, now)
	outcome, known := a.Refunds[key]
	if !known {
		outcome = payment.Refused
		if c.Outcome == payment.Captured && c.Method != RefundRefused && a.Refunded < a.Captures {
			outcome = payment.Refunded
			a.Refunded++
			a.RefundedAmount += c.Amount
		}
		if a.Refunds == nil {
			a.Refunds = map[string]payment.Outcome{}
		}
		a.Refunds[key] = outcome
	}
	result := payment.Result{Outcome: outcome, ProviderRef: reference("re", key)}
	if outcome == payment.Refused {
		result.Message = "the provider refuses to refund this charge"
	}
	return result
}

// look returns the charge under key as it is now: a pending one whose time has
// come is decided, whether or not anybody was looking then.
func (a *Account) look(key string, now time.Time) Charge {
	c := a.Charges[key]
	if c.Outcome == payment.Pended && !now.Before(c.DecidesAt) {
		c.Outcome = c.Decision
		if c.Outcome == payment.Captured {
			a.capture(c)
		} else {
			c.Message = "the customer did not confirm"
		}
		a.put(key, c)
	}
	return c
}

func (a *Account) capture(c Charge) {
	a.Captures++
	a.CapturedAmount += c.Amount
}

func (a *Account) put(key string, c Charge) {
	if a.Charges == nil {
		a.Charges = map[string]Charge{}
	}
	a.Charges[key] = c
}

func (c Charge) result(key string) payment.Result {
	r := payment.Result{Outcome: c.Outcome, ProviderRef: reference("ch", key)}
	switch c.Outcome {
	case payment.Declined:
		r.Message = c.Message
	case payment.Voided:
		r.Message = "the charge was voided"
	case payment.Pended:
		r.ExpiresAt = c.ExpiresAt
	}
	return r
}

// reference is the provider's own name for what was done under key: always the
// same one, and short.
func reference(kind, key string) string {
	const length = 8
	sum := sha256.Sum256([]byte(key))
	return kind + "_" + hex.EncodeToString(sum[:length])
}
