package notification_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/notification"
)

var (
	ada     = event.Contact{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"}
	created = event.OrderCreated{
		OrderID: orderID, CustomerID: "c-42", Total: event.Money{Amount: 2500, Currency: "EUR"}, Contact: &ada,
	}
	all = []string{"email", "sms", "push"}
)

func TestEachKindIsToldOnce(t *testing.T) {
	w := newWorld(t, nil)
	for range 2 {
		for _, h := range heard {
			w.hear(t, h.event)
			w.settle(t)
		}
	}
	got := w.provider.told()
	slices.Sort(got)
	if unique := slices.Compact(slices.Clone(got)); len(unique) != len(got) {
		t.Errorf("something was told twice: %q", got)
	}
	if kinds := 10; len(got) != kinds*len(all) {
		t.Errorf("%d notices, want %d kinds on %d channels", len(got), kinds, len(all))
	}
}

func TestTheSameEventAgainChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	for i, h := range heard {
		cause := fmt.Sprint("event-", i)
		w.hearAs(t, cause, h.event)
		w.settle(t)
		before := string(w.orders.rows[orderID])
		w.hearAs(t, cause, h.event)
		if after := string(w.orders.rows[orderID]); after != before {
			t.Errorf("%T changed the row the second time:\n%s\n%s", h.event, before, after)
		}
	}
}

// A customer reads "shipped" before "delivered", however slow the provider is.
func TestNoticesOfOneChannelGoOutInOrder(t *testing.T) {
	w := newWorld(t, nil)
	w.provider.err = errors.New("no answer")
	w.hear(t, created)
	w.hear(t, event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped})
	w.hear(t, event.ShippingStatus{OrderID: orderID, Status: event.ParcelDelivered})
	w.settle(t)

	row := w.orders.row(orderID)
	want := []event.Wait{{Step: "placed/email"}, {Step: "placed/sms"}, {Step: "placed/push"}}
	if diff := cmp.Diff(want, row.Due()); diff != "" {
		t.Fatalf("due (-want +got):\n%s", diff)
	}
	w.provider.err = nil
	w.settle(t)
	if diff := cmp.Diff(steps(event.NoticePlaced, event.NoticeShipped, event.NoticeDelivered), w.provider.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What was heard before the order goes out after it.
func TestNewsBeforeTheOrderIsHeld(t *testing.T) {
	w := newWorld(t, nil)
	for range 2 {
		w.hear(t, event.PaymentSucceeded{OrderID: orderID})
		w.hear(t, event.ShippingStatus{OrderID: orderID, Status: event.ParcelPreparing})
	}
	row := w.orders.row(orderID)
	if len(row.Held) != 2 {
		t.Errorf("held %v, want each kind once", row.Held)
	}
	if due := row.Due(); len(due) != 0 {
		t.Fatalf("the row waits for %v before anybody knows whom to tell", due)
	}
	w.hear(t, created)
	w.settle(t)
	if diff := cmp.Diff(steps(event.NoticePlaced, event.NoticePaid, event.NoticePreparing), w.provider.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestChannelsWithoutAnAddressAreSkipped(t *testing.T) {
	for name, contact := range map[string]*event.Contact{"no contact": nil, "empty": {}, "e-mail only": {Email: ada.Email}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			e := created
			e.Contact = contact
			w.hear(t, e)
			w.settle(t)
			got := map[event.Channel]notification.NoticeStatus{}
			row := w.orders.row(orderID)
			for _, n := range row.Notices {
				got[n.Channel] = n.Status
			}
			want := map[event.Channel]notification.NoticeStatus{"email": "SKIPPED", "sms": "SKIPPED", "push": "SKIPPED"}
			if contact != nil && contact.Email != "" {
				want["email"] = "SENT"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestChannelsWithoutASenderAreSkipped(t *testing.T) {
	p := &provider{}
	w := &world{orders: newOrders(), provider: p}
	var err error
	if w.Service, err = notification.New(w.orders, notification.Senders{SMS: p}, nil); err != nil {
		t.Fatal(err)
	}
	w.hear(t, created)
	w.settle(t)
	if diff := cmp.Diff([]string{"placed/sms"}, p.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	// A notice that waited for a channel when it was still in use is skipped as well.
	row := notification.Order{ID: orderID, Status: notification.Addressed, Contact: ada,
		Notices: []notification.Notice{{Kind: event.NoticePaid, Channel: event.ChannelPush, Status: notification.Waiting}}}
	change, err := w.Perform(context.Background(), row, "paid/push", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := change(&row); err != nil || row.Notices[0].Status != notification.Skipped {
		t.Errorf("got %+v, %v", row.Notices[0], err)
	}
}

func TestARefusalForGoodFailsTheNoticeAndLetsTheNextOneGo(t *testing.T) {
	w := newWorld(t, nil)
	w.provider.err = fmt.Errorf("mailbox unknown: %w", notification.ErrRefused)
	w.hear(t, created)
	w.settle(t)
	w.provider.err = nil
	w.hear(t, event.PaymentSucceeded{OrderID: orderID})
	w.settle(t)

	row := w.orders.row(orderID)
	for _, n := range row.Notices {
		want := notification.Failed
		if n.Kind == event.NoticePaid {
			want = notification.Sent
		}
		if n.Status != want {
			t.Errorf("%s is %s, want %s", n.Step(), n.Status, want)
		}
	}
	if len(w.orders.said) != len(all) {
		t.Errorf("said %v: a failed notice was not sent", w.orders.said)
	}
}

func TestNoAnswerIsAskedAgainUnderTheSameKey(t *testing.T) {
	w := newWorld(t, nil)
	w.hear(t, created)
	row := w.orders.row(orderID)
	lost := errors.New("connection reset")
	w.provider.err = lost
	if _, err := w.Perform(context.Background(), row, "placed/email", 1); !errors.Is(err, lost) {
		t.Fatalf("got %v, want the provider's error", err)
	}
	w.provider.err = nil
	w.settle(t)
	m := w.provider.taken[0]
	if want := string(orderID) + "/placed/email"; m.Key != want {
		t.Errorf("key %q, want %q", m.Key, want)
	}
	if m.NotificationID != notification.ID(orderID, event.NoticePlaced, event.ChannelEmail) || m.To != ada.Email || m.CustomerID != "c-42" {
		t.Errorf("message %+v", m)
	}
	row = w.orders.row(orderID)
	if !row.Notices[0].SentAt.Equal(sentAt) {
		t.Errorf("sent at %v, want the provider's time %v", row.Notices[0].SentAt, sentAt)
	}
}

func TestALateAnswerSaysNothingTwice(t *testing.T) {
	w := newWorld(t, nil)
	w.hear(t, created)
	row := w.orders.row(orderID)
	change, err := w.Perform(context.Background(), row, "placed/email", 1)
	if err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	said := len(w.orders.said)
	if err := w.orders.Update(event.WithCause(context.Background(), event.Cause{ID: "late"}), orderID, change); err != nil {
		t.Fatal(err)
	}
	if len(w.orders.said) != said {
		t.Errorf("said again: %v", w.orders.said[said:])
	}
	row = w.orders.row(orderID)
	if _, err := w.Perform(context.Background(), row, "placed/email", 2); err == nil {
		t.Error("a notice that was sent can be sent again")
	}
}

type addressBook struct {
	found event.Contact
	err   error
	asked []string
}

func (b *addressBook) Find(_ context.Context, customer string, _ event.Contact) (event.Contact, error) {
	b.asked = append(b.asked, customer)
	return b.found, b.err
}

func TestTheAddressBookIsAskedOncePerOrder(t *testing.T) {
	book := &addressBook{found: event.Contact{Phone: "+1"}}
	w := newWorld(t, book)
	w.hear(t, event.PaymentSucceeded{OrderID: orderID})
	w.hear(t, created)
	w.settle(t)
	w.hear(t, event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped})
	w.settle(t)
	if diff := cmp.Diff([]string{"c-42"}, book.asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"placed/sms", "paid/sms", "shipped/sms"}, w.provider.told()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestTextsAreMadeFromWhatTheOrderKnows(t *testing.T) {
	w := newWorld(t, nil)
	e := created
	e.Total = event.Money{Amount: 1999, Currency: "JPY"}
	w.hear(t, e)
	w.hear(t, event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped, Carrier: "Mill Post", TrackingNumber: "T-7"})
	w.hear(t, event.PaymentFailed{OrderID: orderID, Reason: event.FailedExpired})
	w.hear(t, event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderIsCancelled, Reason: event.ReasonOutOfStock})
	w.settle(t)
	want := map[event.NoticeKind]string{
		event.NoticePlaced:        "1999 JPY",
		event.NoticeShipped:       "with Mill Post (tracking number T-7)",
		event.NoticePaymentFailed: "in time",
		event.NoticeCancelled:     "out of stock",
	}
	seen := 0
	for _, m := range w.provider.taken {
		if part, ok := want[m.Kind]; ok {
			seen++
			if !strings.Contains(m.Text, part) || m.Subject == "" {
				t.Errorf("%s: %q / %q lacks %q", m.Kind, m.Subject, m.Text, part)
			}
		}
	}
	if seen != len(want)*len(all) {
		t.Errorf("%d texts seen, want %d", seen, len(want)*len(all))
	}
}

func TestIDIsAStableUUID(t *testing.T) {
	got := notification.ID(orderID, event.NoticePaymentFailed, event.ChannelSMS)
	if _, err := event.ParseOrderID(got); err != nil {
		t.Errorf("%q is no UUID", got)
	}
	// Written down once: it must never change, providers and customers refer to it.
	if want := "7531fdd5-7ddc-514c-88db-04ce7baa8a74"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if other := notification.ID(orderID, event.NoticePaymentFailed, event.ChannelEmail); other == got {
		t.Error("two channels share an id")
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	if _, err := notification.New(nil, notification.Senders{Email: &provider{}}, nil); err == nil {
		t.Error("no storage, no error")
	}
	if _, err := notification.New(newOrders(), notification.Senders{}, nil); err == nil {
		t.Error("no sender, no error")
	}
}

// The row of an order with everything sent must stay small: it is written with each answer.
func TestTheRowStaysSmall(t *testing.T) {
	const limit = 2000 // bytes; beyond about 2 kB Postgres moves values out of the row
	w := newWorld(t, nil)
	for _, e := range []event.Event{
		created, event.PaymentSucceeded{OrderID: orderID},
		event.ShippingStatus{OrderID: orderID, Status: event.ParcelPreparing},
		event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped, Carrier: "Mill Post", TrackingNumber: "T-7"},
		event.ShippingStatus{OrderID: orderID, Status: event.ParcelDelivered},
	} {
		w.hear(t, e)
		w.settle(t)
	}
	if size := len(w.orders.rows[orderID]); size > limit {
		t.Errorf("the row of a delivered order has %d bytes, want at most %d", size, limit)
	}
}
