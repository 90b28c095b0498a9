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

// The table of what the customer hears: every event that notification hears, with
// every value that makes a difference, and the kind of notice it is.
var heard = []struct {
	event event.Event
	kind  event.NoticeKind // empty: nothing is told
}{
	{created, event.NoticePlaced},
	{event.PaymentPending{OrderID: orderID}, event.NoticePending},
	{event.PaymentSucceeded{OrderID: orderID}, event.NoticePaid},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedDeclined}, event.NoticePaymentFailed},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedExpired}, event.NoticePaymentFailed},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedCancelled}, ""},
	{event.PaymentFailed{OrderID: orderID, Reason: "OF_A_NEWER_VERSION"}, ""},
	{event.PaymentRefunded{OrderID: orderID}, event.NoticeRefunded},
	{event.PaymentRefundFailed{OrderID: orderID}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelPreparing}, event.NoticePreparing},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped}, event.NoticeShipped},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelDelivered}, event.NoticeDelivered},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelStopped}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelReturned}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelRefused}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelLost}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelRecallFailed}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: "OF_A_NEWER_VERSION"}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPending}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderAwaiting}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaymentPending}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaymentFailed}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaid}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderShipped}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderDelivered}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderCancelling}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderIsCancelled}, event.NoticeCancelled},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderNeedsAttention}, event.NoticeNeedsAttention},
	{event.OrderStatusUpdated{OrderID: orderID, Status: "OF_A_NEWER_VERSION"}, ""},
}

// TestEveryStateAndEvent walks each state of a row with each event.
func TestEveryStateAndEvent(t *testing.T) {
	states := []struct {
		name  string
		book  notification.AddressBook
		reach func(*testing.T, *world)
		// told is what the customer was told before; goesOut whether notices go out at once.
		told    []event.NoticeKind
		goesOut bool
		// and what is told once everything held was let go.
		letGo func(*testing.T, *world)
	}{
		{
			name:  "unknown order",
			letGo: func(t *testing.T, w *world) { w.hear(t, created) },
		},
		{
			name:  "addresses being looked up",
			book:  &addressBook{found: ada, err: errors.New("the address book is away")},
			reach: func(t *testing.T, w *world) { w.hear(t, created) },
			letGo: func(t *testing.T, w *world) {},
		},
		{
			name:    "known order",
			reach:   func(t *testing.T, w *world) { w.hear(t, created) },
			told:    []event.NoticeKind{event.NoticePlaced},
			goesOut: true,
			letGo:   func(t *testing.T, w *world) {},
		},
	}
	for _, state := range states {
		for _, h := range heard {
			t.Run(fmt.Sprintf("%s/%T %v", state.name, h.event, h.event), func(t *testing.T) {
				w := newWorld(t, state.book)
				if state.reach != nil {
					state.reach(t, w)
				}
				w.settle(t)
				if diff := cmp.Diff(steps(state.told...), w.provider.told()); diff != "" {
					t.Fatalf("told before (-want +got):\n%s", diff)
				}

				w.hear(t, h.event)
				w.settle(t)
				want := slices.Clone(state.told)
				if h.kind != "" && state.goesOut && !slices.Contains(want, h.kind) {
					want = append(want, h.kind)
				}
				_, opens := h.event.(event.OrderCreated)
				if opens && state.name == "unknown order" {
					want = append(want, event.NoticePlaced)
				}
				if diff := cmp.Diff(steps(want...), w.provider.told()); diff != "" {
					t.Fatalf("told (-want +got):\n%s", diff)
				}

				// Nothing that was held is lost.
				if b, ok := state.book.(*addressBook); ok {
					was := b.err
					b.err = nil
					defer func() { b.err = was }()
				}
				state.letGo(t, w)
				w.settle(t)
				want = []event.NoticeKind{event.NoticePlaced}
				if h.kind != "" && h.kind != event.NoticePlaced {
					want = append(want, h.kind)
				}
				if diff := cmp.Diff(steps(want...), w.provider.told()); diff != "" {
					t.Fatalf("told in the end (-want +got):\n%s", diff)
				}
				var said []string
				for _, e := range w.orders.said {
					s := e.(event.NotificationSent)
					said = append(said, string(s.Kind)+"/"+string(s.Channel))
				}
				if diff := cmp.Diff(steps(want...), said); diff != "" {
					t.Fatalf("said (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// steps is every kind on every channel, in the order they go out.
func steps(kinds ...event.NoticeKind) (out []string) {
	for _, kind := range kinds {
		for _, channel := range all {
			out = append(out, string(kind)+"/"+channel)
		}
	}
	return out
}

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
