package notification

import (
	"slices"
	"time"

	"millrace/event"
)

// RowStatus says how far a row is from being able to tell anything.
type RowStatus string

// The states of a row. In the first two, what is to be told is held.
const (
	// Unknown: OrderCreated was not heard yet.
	Unknown RowStatus = ""
	// LookingUp: the address book is being asked.
	LookingUp RowStatus = "LOOKING_UP"
	// Addressed: it is known where the customer can be reached, if anywhere.
	Addressed RowStatus = "ADDRESSED"
)

// NoticeStatus says what became of one notice on one channel.
type NoticeStatus string

// The states of a notice; only Waiting ever changes.
const (
	Waiting NoticeStatus = "WAITING"
	Sent    NoticeStatus = "SENT"
	// Failed: the provider refused it for good.
	Failed NoticeStatus = "FAILED"
	// Skipped: there is no address, or no sender, for the channel.
	Skipped NoticeStatus = "SKIPPED"
)

// Order is the row: what one order's customer was and will be told.
type Order struct {
	ID         event.OrderID `json:"id"`
	Status     RowStatus     `json:"status"`
	CustomerID string        `json:"customerId,omitempty"`
	Contact    event.Contact `json:"contact"`
	// Held are the kinds to be told once the addresses are known, in the order they were heard of.
	Held []event.NoticeKind `json:"held,omitempty"`
	// Notices are in the order they go out. Their text is not kept, it is
	// made from the fields below when it is sent.
	Notices Notices `json:"notices,omitempty"`

	Total          event.Money         `json:"total"`
	FailureReason  event.FailureReason `json:"failureReason,omitempty"`
	CancelReason   event.CancelReason  `json:"cancelReason,omitempty"`
	Carrier        string              `json:"carrier,omitempty"`
	TrackingNumber string              `json:"trackingNumber,omitempty"`
}

// Notice is one kind of news on one channel.
type Notice struct {
	Kind    event.NoticeKind `json:"kind"`
	Channel event.Channel    `json:"channel"`
	Status  NoticeStatus     `json:"status"`
	// SentAt is zero unless Status is Sent.
	SentAt time.Time `json:"sentAt,omitzero"`
}

// Step names the wait that sends the notice, and is part of its idempotency key.
func (n Notice) Step() string { return string(n.Kind) + "/" + string(n.Channel) }

// addressStep is the wait for the address book. It has no slash, so it is no notice's.
const addressStep = "addresses"

// channels is every way to reach a customer.
var channels = [...]event.Channel{event.ChannelEmail, event.ChannelSMS, event.ChannelPush}

// Kind is the table of what the customer hears: which notice an event stands for,
// and whether it stands for one at all. Most changes of an order reach this service
// as two events; only one of them is news, so that nobody hears a thing twice.
func Kind(e event.Event) (event.NoticeKind, bool) {
	switch e := e.(type) {
	case event.OrderCreated:
		return event.NoticePlaced, true
	case event.PaymentPending:
		return event.NoticePending, true
	case event.PaymentSucceeded:
		return event.NoticePaid, true
	case event.PaymentFailed:
		return event.NoticePaymentFailed, e.Reason == event.FailedDeclined || e.Reason == event.FailedExpired
	case event.PaymentRefunded:
		return event.NoticeRefunded, true
	case event.ShippingStatus:
		switch e.Status {
		case event.ParcelPreparing:
			return event.NoticePreparing, true
		case event.ParcelShipped:
			return event.NoticeShipped, true
		case event.ParcelDelivered:
			return event.NoticeDelivered, true
		}
	case event.OrderStatusUpdated:
		switch e.Status {
		case event.OrderIsCancelled:
			return event.NoticeCancelled, true
		case event.OrderNeedsAttention:
			return event.NoticeNeedsAttention, true
		}
	}
	return "", false
}

// Due is what the row waits for: the address book, or on each channel the first
// notice that has not gone out. Later ones of a channel wait behind it, so that
// nobody reads "delivered" before "shipped".
func (o *Order) Due() []event.Wait {
	if o.Status == LookingUp {
		return []event.Wait{{Step: addressStep}}
	}
	var waits []event.Wait
	for _, channel := range channels {
		i := slices.IndexFunc(o.Notices, func(n Notice) bool { return n.Channel == channel && n.Status == Waiting })
		if i >= 0 {
			waits = append(waits, event.Wait{Step: o.Notices[i].Step()})
		}
	}
	return waits
}

// open makes the customer known; false if it was known already.
func (o *Order) open(customerID string, total event.Money, given event.Contact) bool {
	if o.Status != Unknown {
		return false
	}
	o.Status, o.CustomerID, o.Total, o.Contact = LookingUp, customerID, total, given
	o.Held = slices.Insert(o.Held, 0, event.NoticePlaced)
	return true
}

// address ends the looking up, and lets go what was held.
func (o *Order) address(contact event.Contact) {
	held := o.Held
	o.Status, o.Contact, o.Held = Addressed, contact, nil
	for _, kind := range held {
		o.tell(kind)
	}
}

// tell adds a kind of notice, unless the customer hears of it already.
func (o *Order) tell(kind event.NoticeKind) {
	if slices.Contains(o.Held, kind) || slices.ContainsFunc(o.Notices, func(n Notice) bool { return n.Kind == kind }) {
		return
	}
	if o.Status != Addressed {
		o.Held = append(o.Held, kind)
		return
	}
	for _, channel := range channels {
		status := Waiting
		if addressOn(o.Contact, channel) == "" {
			status = Skipped
		}
		o.Notices = append(o.Notices, Notice{Kind: kind, Channel: channel, Status: status})
	}
}

// remember keeps what the texts will need. What is known first stays, as the kind
// of notice it belongs to is told only once.
func (o *Order) remember(e event.Event) {
	switch e := e.(type) {
	case event.PaymentFailed:
		keep(&o.FailureReason, e.Reason)
	case event.OrderStatusUpdated:
		keep(&o.CancelReason, e.Reason)
	case event.ShippingStatus:
		keep(&o.Carrier, e.Carrier)
		keep(&o.TrackingNumber, e.TrackingNumber)
	}
}

func keep[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

// waitingFor returns the notice that is to go out under step.
func (o *Order) waitingFor(step string) (Notice, bool) {
	for _, n := range o.Notices {
		if n.Status == Waiting && n.Step() == step {
			return n, true
		}
	}
	return Notice{}, false
}

// settle ends the wait for one notice; false if it was not waiting any more.
func (o *Order) settle(step string, status NoticeStatus, at time.Time) bool {
	for i := range o.Notices {
		if n := &o.Notices[i]; n.Status == Waiting && n.Step() == step {
			n.Status, n.SentAt = status, at
			return true
		}
	}
	return false
}

// addressOn is where a channel reaches the contact, or empty.
func addressOn(c event.Contact, channel event.Channel) string {
	switch channel {
	case event.ChannelEmail:
		return c.Email
	case event.ChannelSMS:
		return c.Phone
	case event.ChannelPush:
		return c.DeviceToken
	}
	return ""
}
