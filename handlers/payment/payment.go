package payment

import (
	"fmt"
	"strconv"
	"time"

	"millrace/event"
)

// Status is where a payment stands.
type Status string

// The states of a payment. The empty status is a row that has not heard of the
// payment: absent, or a tombstone left by a cancel that came first.
const (
	// StatusInitiated is shown, never stored: charging, and the provider not called yet.
	StatusInitiated Status = "INITIATED"
	// StatusCharging means the provider was, or is about to be, asked to charge.
	StatusCharging Status = "CHARGING"
	// StatusUnknown is shown, never stored: charging, called more than once, no answer yet.
	StatusUnknown Status = "UNKNOWN"
	// StatusPending means the provider has the charge and has not decided.
	StatusPending Status = "PENDING"
	// StatusSucceeded means captured and kept.
	StatusSucceeded Status = "SUCCEEDED"
	// StatusFailed means nothing was captured, and nothing will be.
	StatusFailed Status = "FAILED"
	// StatusVoiding means the charge is not wanted any more and the provider is being
	// asked what became of it.
	StatusVoiding Status = "VOIDING"
	// StatusRefunding means captured money is on its way back.
	StatusRefunding Status = "REFUNDING"
	// StatusRefunded means captured money went back.
	StatusRefunded Status = "REFUNDED"
	// StatusRefundFailed means the provider refused the refund for good; an operator decides.
	StatusRefundFailed Status = "REFUND_FAILED"
)

// Payment is the row: all that is known of the money of one order.
type Payment struct {
	ID     event.OrderID `json:"id"`
	Status Status        `json:"status"`
	// Cancelled says OrderCancelled was heard. With an empty Status it makes the row a tombstone.
	Cancelled bool `json:"cancelled,omitempty"`

	// What PaymentInitiated asked for. Items and address are passed on.
	Total           event.Money    `json:"total"`
	PaymentMethod   string         `json:"paymentMethod,omitempty"`
	Items           []event.Item   `json:"items,omitempty"`
	ShippingAddress *event.Address `json:"shippingAddress,omitempty"`

	// ProviderRef is the provider's name for the charge; empty until it is known.
	ProviderRef string `json:"providerRef,omitempty"`
	// ExpiresAt is when the provider gives up on a pending charge, as it said.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	// Attempts is how many calls the last answered step took.
	Attempts int `json:"attempts,omitempty"`
	// Reason and Message are what PaymentFailed said; empty where it was not said.
	Reason  event.FailureReason `json:"reason,omitempty"`
	Message string              `json:"message,omitempty"`
	Refund  Refund              `json:"refund,omitzero"`
}

// Refund is the way back of captured money. The zero value is none.
type Refund struct {
	// Number counts the refunds that were begun. Each has a key of its own at the
	// provider; the next begins only when the one before was refused for good.
	Number int `json:"number"`
	// AfterSuccess says PaymentSucceeded had been said before.
	AfterSuccess bool   `json:"afterSuccess,omitempty"`
	ProviderRef  string `json:"providerRef,omitempty"`
	// Message is why the provider refused the last one.
	Message string `json:"message,omitempty"`
	// Note is what the operator wrote on resolving a refusal.
	Note string `json:"note,omitempty"`
}

// captured tells whether the provider has taken the money, whether or not it went back since.
func (p *Payment) captured() bool { return p.Status == StatusSucceeded || p.Refund.Number > 0 }

// Heard tells whether the row is more than a tombstone.
func (p *Payment) Heard() bool { return p.Status != "" }

// initiate starts the charge, unless the cancel was here first: that has been
// answered already.
func (p *Payment) initiate(e event.PaymentInitiated) []event.Event {
	if p.Heard() {
		return nil
	}
	p.Total, p.PaymentMethod = e.Total, e.PaymentMethod
	p.Items, p.ShippingAddress = e.Items, e.ShippingAddress
	p.Status = StatusCharging
	if p.Cancelled {
		p.Status = StatusFailed
	}
	return nil
}

// cancel gives up the money. While the provider may still capture, nothing is
// said: void finds out first.
func (p *Payment) cancel() []event.Event {
	if p.Cancelled {
		return nil
	}
	p.Cancelled = true
	switch p.Status {
	case "":
		return p.failed(event.FailedCancelled, cancelledMessage)
	case StatusCharging, StatusPending:
		p.Status = StatusVoiding
	case StatusSucceeded:
		p.refund()
		p.Refund.AfterSuccess = true
	}
	// Voiding for the deadline goes on, now for the cancel. Everywhere else the
	// money has been settled, or is being settled, in the customer's favour.
	return nil
}

// expire is the deadline: it does not fail the payment, it makes the provider say
// what became of it.
func (p *Payment) expire() []event.Event {
	if p.Status == StatusCharging || p.Status == StatusPending {
		p.Status = StatusVoiding
	}
	return nil
}

// learn takes the provider's word on the charge. It does not matter which way the
// word came (answer, callback, void): the state alone says what follows from it.
func (p *Payment) learn(r Result) []event.Event {
	switch p.Status {
	case StatusCharging, StatusPending, StatusVoiding:
	case StatusFailed:
		return p.lateCapture(r)
	default:
		return nil
	}
	unwanted := p.Status == StatusVoiding && p.Cancelled
	if r.ProviderRef != "" {
		p.ProviderRef = r.ProviderRef
	}
	switch r.Outcome {
	case Pended:
		return p.pending(r)
	case Captured:
		if !unwanted {
			return p.succeed()
		}
		p.refund()
		return p.failed(event.FailedCancelled, cancelledMessage)
	case Declined:
		p.Status = StatusFailed
		if unwanted {
			return p.failed(event.FailedCancelled, cancelledMessage)
		}
		return p.failed(event.FailedDeclined, r.Message)
	case Voided:
		p.Status = StatusFailed
		if unwanted {
			return p.failed(event.FailedCancelled, cancelledMessage)
		}
		return p.failed(event.FailedExpired, expiredMessage)
	}
	return nil
}

// lateCapture gives back what a provider captured after it had said it would not.
// Nothing is said before the refund: PaymentFailed was, and stays true.
func (p *Payment) lateCapture(r Result) []event.Event {
	if r.Outcome == Captured {
		p.ProviderRef = r.ProviderRef
		p.refund()
	}
	return nil
}

func (p *Payment) pending(r Result) []event.Event {
	if p.Status != StatusCharging {
		return nil
	}
	p.Status = StatusPending
	// Without the monotonic clock and the zone, so that the row equals itself after storage.
	p.ExpiresAt = r.ExpiresAt.UTC().Round(0)
	return []event.Event{event.PaymentPending{OrderID: p.ID, ProviderRef: p.ProviderRef, ExpiresAt: p.ExpiresAt}}
}

func (p *Payment) succeed() []event.Event {
	p.Status = StatusSucceeded
	return []event.Event{
		event.PaymentSucceeded{OrderID: p.ID, Total: p.Total, ProviderRef: p.ProviderRef},
		event.InventoryUpdate{OrderID: p.ID, Items: p.Items},
		event.ShippingInitiate{OrderID: p.ID, Items: p.Items, ShippingAddress: p.ShippingAddress},
	}
}

func (p *Payment) failed(reason event.FailureReason, message string) []event.Event {
	p.Reason, p.Message = reason, message
	return []event.Event{event.PaymentFailed{
		OrderID: p.ID, Reason: reason, Message: message, RefundFollows: p.Status == StatusRefunding,
	}}
}

// refund begins the next refund.
func (p *Payment) refund() {
	p.Status = StatusRefunding
	p.Refund.Number++
	p.Refund.Message = ""
}

// refundAnswered takes the provider's final word on the refund under way.
func (p *Payment) refundAnswered(r Result) []event.Event {
	if r.Outcome == Refused {
		p.Status, p.Refund.Message = StatusRefundFailed, r.Message
		return []event.Event{event.PaymentRefundFailed{OrderID: p.ID, Total: p.Total, Message: p.Refund.Message}}
	}
	p.Refund.ProviderRef = r.ProviderRef
	return p.refunded(r.ProviderRef)
}

func (p *Payment) refunded(ref string) []event.Event {
	p.Status = StatusRefunded
	return []event.Event{event.PaymentRefunded{
		OrderID: p.ID, Total: p.Total, ProviderRef: ref, AfterSuccess: p.Refund.AfterSuccess,
	}}
}

// resolve is the operator's way out of a refused refund.
func (p *Payment) resolve(action RefundAction, note string) ([]event.Event, error) {
	if !p.Heard() {
		return nil, event.ErrUnknownOrder
	}
	if p.Status != StatusRefundFailed {
		return nil, fmt.Errorf("%w: the payment is %s", ErrNoRefusedRefund, p.Status)
	}
	p.Refund.Note = note
	if action == RetryRefund {
		p.refund()
		return nil, nil
	}
	// Settled elsewhere: no refund of the provider's to name, so the charge's name stands in.
	return p.refunded(p.ProviderRef), nil
}

// refundStep is the wait for the refund under way: refund, refund-2, refund-3, …
func (p *Payment) refundStep() string {
	if p.Refund.Number <= 1 {
		return StepRefund
	}
	return StepRefund + "-" + strconv.Itoa(p.Refund.Number)
}

const (
	cancelledMessage = "the order was cancelled"
	expiredMessage   = "the payment was not completed in time"
)
