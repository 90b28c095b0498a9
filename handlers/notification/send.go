package notification

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"time"

	"millrace/event"
)

// ErrRefused is wrapped by a Sender's error when the provider will never take the
// message (the address does not exist, say). The notice is FAILED then; after any
// other error it is sent again.
var ErrRefused = errors.New("refused for good")

// Sender hands messages of one channel to a provider.
type Sender interface {
	// Send returns when the provider took the message, at the time of the first call
	// with the message's Key where it knows one: it may be called again with the same
	// Key, after an answer was lost, and should then send nothing.
	// It must return when ctx ends, and be safe for concurrent use.
	Send(ctx context.Context, m Message) (time.Time, error)
}

// Senders holds the sender of each channel; nil means the channel is not used.
type Senders struct{ Email, SMS, Push Sender }

// AddressBook knows where customers can be reached, for shops that do not send
// the addresses with the order. It is asked once per order, as an effect.
type AddressBook interface {
	// Find returns the addresses of a customer, given those that came with the
	// order. An empty field is a channel to skip; an error is asked again.
	Find(ctx context.Context, customerID string, given event.Contact) (event.Contact, error)
}

// Message is one notice, ready to go out.
type Message struct {
	// Key is the idempotency key, "order/step".
	Key            string
	NotificationID string
	OrderID        event.OrderID
	CustomerID     string
	Kind           event.NoticeKind
	Channel        event.Channel
	// To is an e-mail address, a phone number or a device token: personal, not for logs.
	To string
	// Subject is a headline for channels that have one.
	Subject string
	Text    string
}

// ID is a notice's id: the same for the same order, kind and channel wherever it
// is computed, so it need not be kept. It is a UUID of version 5.
func ID(order event.OrderID, kind event.NoticeKind, channel event.Channel) string {
	const version, variant = 0x50, 0x80 // RFC 9562: name-based with SHA-1
	sum := sha1.Sum([]byte("millrace/notification/" + string(order) + "/" + string(kind) + "/" + string(channel)))
	sum[6] = sum[6]&0x0f | version
	sum[8] = sum[8]&0x3f | variant
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// usable leaves out the addresses of channels that have no sender.
func (s *Service) usable(c event.Contact) event.Contact {
	if s.senders.Email == nil {
		c.Email = ""
	}
	if s.senders.SMS == nil {
		c.Phone = ""
	}
	if s.senders.Push == nil {
		c.DeviceToken = ""
	}
	return c
}

func (s *Service) sender(channel event.Channel) Sender {
	switch channel {
	case event.ChannelEmail:
		return s.senders.Email
	case event.ChannelSMS:
		return s.senders.SMS
	case event.ChannelPush:
		return s.senders.Push
	}
	return nil
}

func (s *Service) lookUp(ctx context.Context, row Order) (func(*Order) ([]event.Event, error), error) {
	found := row.Contact
	if s.book != nil { // there may have been one when the row was written, and none now
		var err error
		if found, err = s.book.Find(ctx, row.CustomerID, row.Contact); err != nil {
			return nil, fmt.Errorf("look up the addresses of customer %q for order %s: %w", row.CustomerID, row.ID, err)
		}
	}
	return func(o *Order) ([]event.Event, error) {
		if o.Status == LookingUp {
			o.address(s.usable(found))
		}
		return nil, nil
	}, nil
}

func (s *Service) send(ctx context.Context, row Order, n Notice) (func(*Order) ([]event.Event, error), error) {
	step := n.Step()
	sender := s.sender(n.Channel)
	if sender == nil { // the channel was in use when the row was written, and is not now
		return func(o *Order) ([]event.Event, error) {
			o.settle(step, Skipped, time.Time{})
			return nil, nil
		}, nil
	}
	id := ID(row.ID, n.Kind, n.Channel)
	subject, text := render(row, n.Kind)
	at, err := sender.Send(ctx, Message{
		Key:            string(row.ID) + "/" + step,
		NotificationID: id,
		OrderID:        row.ID,
		CustomerID:     row.CustomerID,
		Kind:           n.Kind,
		Channel:        n.Channel,
		To:             addressOn(row.Contact, n.Channel),
		Subject:        subject,
		Text:           text,
	})
	switch {
	case errors.Is(err, ErrRefused):
		return func(o *Order) ([]event.Event, error) {
			o.settle(step, Failed, time.Time{})
			return nil, nil
		}, nil
	case err != nil:
		return nil, fmt.Errorf("send %q of order %s: %w", step, row.ID, err)
	}
	// Milliseconds are enough for a reader, and the row holds up to thirty of these.
	at = at.UTC().Truncate(time.Millisecond)
	return func(o *Order) ([]event.Event, error) {
		if !o.settle(step, Sent, at) {
			return nil, nil
		}
		return []event.Event{event.NotificationSent{
			OrderID: o.ID, Kind: n.Kind, Channel: n.Channel, NotificationID: id,
		}}, nil
	}, nil
}
