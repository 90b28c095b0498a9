package verify

import (
	"context"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	analyticsservice "millrace/handlers/analytics"
	inventoryservice "millrace/handlers/inventory"
	notificationservice "millrace/handlers/notification"
	orderservice "millrace/handlers/order"
	paymentservice "millrace/handlers/payment"
	shippingservice "millrace/handlers/shipping"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
)

// The rules are the checker's own; these tests hold them against the services'.

const someOrder = event.OrderID("0199c0de-0000-7000-8000-000000000001")

// shelf is every service's storage, for one order; touched tells whether it was used.
type shelf[S any] struct {
	row     S
	touched bool
}

func (s *shelf[S]) Update(_ context.Context, _ event.OrderID, change func(*S) ([]event.Event, error)) error {
	s.touched = true
	_, err := change(&s.row)
	return err
}

func (s *shelf[S]) UpdateExisting(ctx context.Context, of event.OrderID, change func(*S) ([]event.Event, error)) error {
	return s.Update(ctx, of, change)
}

func (s *shelf[S]) Load(context.Context, event.OrderID) (S, bool, error) { return s.row, true, nil }

// shelfWithStock is inventory's.
type shelfWithStock struct{ touched bool }

func (s *shelfWithStock) Update(context.Context, event.OrderID, func(*inventoryservice.Reservation) []string,
	func(*inventoryservice.Reservation, map[string]*inventoryservice.Level) ([]event.Event, error)) error {
	s.touched = true
	return nil
}

func (s *shelfWithStock) UpdateSide(context.Context, []string, func(map[string]*inventoryservice.Level) error) error {
	return nil
}

// somethingOfEach are events of all kinds, with each status and reason there is.
func somethingOfEach() (list []event.Event) {
	items := []event.Item{{SKU: mug, Quantity: 2, UnitPrice: 1250}}
	total := event.Money{Amount: 2500, Currency: "EUR"}
	list = append(list,
		event.OrderCreated{OrderID: someOrder, Items: items, Total: total}, event.PaymentInitiated{OrderID: someOrder, Items: items, Total: total},
		event.PaymentSucceeded{OrderID: someOrder, Total: total}, event.PaymentPending{OrderID: someOrder}, event.InventoryUpdate{OrderID: someOrder, Items: items},
		event.ShippingInitiate{OrderID: someOrder, Items: items}, event.InventoryReserved{OrderID: someOrder, Items: items},
		event.InventoryRejected{OrderID: someOrder, Items: items}, event.InventoryReleased{OrderID: someOrder, Items: items},
		event.OrderCancelled{OrderID: someOrder, Reason: event.ReasonCustomer}, event.PaymentRefunded{OrderID: someOrder, Total: total, AfterSuccess: true},
		event.PaymentRefundFailed{OrderID: someOrder, Total: total}, event.NotificationSent{OrderID: someOrder, Kind: event.NoticePaid, Channel: event.ChannelSMS})
	for _, reason := range []event.FailureReason{event.FailedDeclined, event.FailedExpired, event.FailedCancelled} {
		list = append(list, event.PaymentFailed{OrderID: someOrder, Reason: reason})
	}
	for _, status := range []event.ParcelStatus{event.ParcelPreparing, event.ParcelShipped, event.ParcelDelivered, event.ParcelStopped,
		event.ParcelReturned, event.ParcelRefused, event.ParcelLost, event.ParcelRecallFailed} {
		list = append(list, event.ShippingStatus{OrderID: someOrder, Status: status})
	}
	for status := range ways {
		list = append(list, event.OrderStatusUpdated{OrderID: someOrder, Status: event.OrderStatus(status), Reason: event.ReasonDeadline})
	}
	return list
}

// wireHeader is a header as the transports decode it.
type wireHeader struct {
	Key   string
	Value []byte
}

// asRecord is an event as it is read from the log.
func asRecord(t interface{ Fatal(...any) }, e event.Event, headers ...header) (record, []byte) {
	info, ok := topic.For(e)
	if !ok {
		t.Fatal("no topic")
	}
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	k, ok := kindOf(info.Name)
	if !ok {
		t.Fatal("unknown topic " + info.Name)
	}
	f := fetched{topic: info.Name, key: []byte(e.Key()), value: body, headers: headers}
	return f.record(k), body
}

// An event leaves a trace at a service exactly if the service goes to its store for it.
func TestTracesAreTheServices(t *testing.T) {
	for _, e := range somethingOfEach() {
		r, body := asRecord(t, e)
		if !r.Readable {
			t.Fatalf("%s is not readable", body)
		}
		for _, s := range flow[r.Kind].consumers {
			order, payment, stock := &shelf[orderservice.Order]{}, &shelf[paymentservice.Payment]{}, &shelfWithStock{}
			parcel, notices, counts := &shelf[shippingservice.Shipment]{}, &shelf[notificationservice.Order]{}, &shelf[analyticsservice.Order]{}
			teller, err := notificationservice.New(notices, notificationservice.Senders{Email: noSender{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			counter, err := analyticsservice.New(counts)
			if err != nil {
				t.Fatal(err)
			}
			graph := router.Flow(router.Services{
				Order: orderservice.New(order, orderservice.Policy{}, nil), Payment: paymentservice.NewService(payment, nil), Inventory: inventoryservice.New(stock),
				Shipping: shippingservice.New(parcel, nil, shippingservice.Policy{}), Notification: teller, Analytics: counter,
			})
			msg := transport.Decode(flow[r.Kind].topic, 0, 0, body, []wireHeader{{"ce_time", []byte("2026-01-02T03:04:05Z")}})
			if err := graph.Deliver(s.String(), flow[r.Kind].topic, msg); err != nil {
				t.Fatalf("%s hears %s: %v", s, body, err)
			}
			touched := order.touched || payment.touched || stock.touched || parcel.touched || notices.touched || counts.touched
			if got := leavesTrace(s, &r); got != touched {
				t.Errorf("%s hears %s: leaves a trace %t, want %t", s, body, got, touched)
			}
		}
	}
}

type noSender struct{ notificationservice.Sender }

// Whatever is heard, in whatever order and however often: the row is read, and computed from the events,
// as analytics has it, and contributes the same.
func TestAnalyticsAreRecountedAsTheyAreCounted(t *testing.T) {
	all := somethingOfEach()
	rapid.Check(t, func(t *rapid.T) {
		store := &shelf[analyticsservice.Order]{row: analyticsservice.Order{ID: someOrder}}
		service, err := analyticsservice.New(store)
		if err != nil {
			t.Fatal(err)
		}
		var want analysed
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			e := rapid.SampledFrom(all).Draw(t, "event")
			at := time.UnixMicro(now + rapid.Int64Range(0, 3*60*second).Draw(t, "at")).UTC()
			r, _ := asRecord(t, e, header{headTime, []byte(at.Format(time.RFC3339Nano))})
			if err := service.Count(event.WithCause(context.Background(), event.Cause{ID: "1", Time: at}), e); err != nil {
				t.Fatal(err)
			}
			if counted(&r) {
				want.hear(&r)
			}
		}
		state, err := json.Marshal(store.row)
		if err != nil {
			t.Fatal(err)
		}
		var got analysed
		if err := got.read(state); err != nil {
			t.Fatal(err)
		}
		if what := differ(&want, &got); what != "" || want != got {
			t.Fatalf("by the events it is %s\n%s", what, state)
		}
		ours, theirs := tally{}, tally{}
		got.contribute(ours)
		for _, sum := range store.row.Contribution() {
			theirs.plus(sumKey{allTime, sum.Name, sum.Key}, sum.N)
			if sum.Name != sumTimeToPaid {
				theirs.plus(sumKey{sum.Minute.Unix(), sum.Name, sum.Key}, sum.N)
			}
		}
		if diff := cmp.Diff(numbers(theirs), numbers(ours)); diff != "" {
			t.Fatalf("(-theirs +ours)\n%s", diff)
		}
	})
}

func numbers(t tally) map[sumKey]string {
	list := map[sumKey]string{}
	for key, n := range t {
		if n.Cmp(new(big.Int)) != 0 {
			list[key] = n.String()
		}
	}
	return list
}

// ordersKept is the order service's storage as it must be: what a change says and records is kept with the row.
type ordersKept struct {
	shelf[orderservice.Order]
	said  int64
	facts []orderservice.Fact
}

func (s *ordersKept) Update(_ context.Context, _ event.OrderID, change func(*orderservice.Order) ([]event.Event, error)) error {
	after := s.row
	events, err := change(&after)
	if err != nil {
		return err
	}
	s.facts = append(s.facts, after.TakeFacts()...)
	s.row, s.said = after, s.said+int64(len(events))
	return nil
}

func (s *ordersKept) UpdateExisting(ctx context.Context, of event.OrderID, change func(*orderservice.Order) ([]event.Event, error)) error {
	return s.Update(ctx, of, change)
}

// Whatever an order hears, its history makes the same of it here as in its own service: the row, how much
// was said, and which status may follow which.
func TestHistoriesAreReplayedAsTheyAreMade(t *testing.T) {
	all := somethingOfEach()
	place := orderservice.PlaceOrder{CustomerID: "c", Currency: "EUR", PaymentMethod: "pm", Items: []event.Item{{SKU: mug, Quantity: 2, UnitPrice: 1250}},
		ShippingAddress: &event.Address{Name: "Ada", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"}}
	rapid.Check(t, func(t *rapid.T) {
		store := &ordersKept{shelf: shelf[orderservice.Order]{row: orderservice.Order{ID: someOrder}}}
		service := orderservice.New(store, orderservice.Policy{}, nil)
		graph := router.Flow(router.Services{Order: service})
		ctx := event.WithCause(context.Background(), event.Cause{ID: "1"})
		for i := range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case i == 3 || what == 0: // some things are heard before the order is placed
				if _, err := service.Place(ctx, someOrder, place); err != nil {
					t.Fatal(err)
				}
			case what == 1:
				_, _ = service.Cancel(ctx, someOrder) // it may be too early, or too late
			default:
				r, body := asRecord(t, rapid.SampledFrom(all).Draw(t, "event"))
				if !hears(orders, r.Kind) {
					continue
				}
				msg := transport.Decode(flow[r.Kind].topic, 0, int64(i), body, []wireHeader{})
				if err := graph.Deliver("order", flow[r.Kind].topic, msg); err != nil {
					t.Fatal(err)
				}
			}
		}
		state, err := json.Marshal(store.row)
		if err != nil {
			t.Fatal(err)
		}
		kept := &row{Service: orders, Version: int64(len(store.facts)), Said: store.said, Column: string(store.row.Status)}
		kept.readState(state)
		o := &order{}
		o.Rows[orders] = kept
		for i, fact := range store.facts {
			name, data, err := orderservice.EncodeFact(fact)
			if err != nil {
				t.Fatal(err)
			}
			e := entry{Version: int64(i + 1), Type: name}
			e.read(data)
			o.History = append(o.History, e)
		}
		f := newFindings(1)
		l := newWorld().look
		checkHistory(o, &l, f)
		if f.of(ih).checked != 1 || f.of(ih).violations != 0 {
			t.Fatalf("%s%s", f.text(), state)
		}
	})
}

// What the other services keep is read as they write it.
func TestStatesAreReadAsTheyAreWritten(t *testing.T) {
	total := event.Money{Amount: 2500, Currency: "EUR"}
	for s, c := range map[service]struct {
		state any
		want  row
	}{
		payments: {
			paymentservice.Payment{ID: someOrder, Status: paymentservice.StatusRefunded, Total: total, Refund: paymentservice.Refund{Number: 2, Note: "in cash"}},
			row{Payment: &paymentState{moneyRefunded, price, refundState{2, "in cash"}}},
		},
		inventory: {
			inventoryservice.Reservation{ID: someOrder, Status: inventoryservice.Sold, Items: []event.Item{{SKU: mug, Quantity: 2, UnitPrice: 7}}},
			row{Stock: &reservation{stockSold, []item{{mug, 2, 7}}}},
		},
		shipping: {
			shippingservice.Shipment{ID: someOrder, Status: event.ParcelLost},
			row{Parcel: &shipment{parcelLost}},
		},
		notification: {
			notificationservice.Order{ID: someOrder, Notices: notificationservice.Notices{
				{Kind: event.NoticePaid, Channel: event.ChannelEmail, Status: notificationservice.Sent, SentAt: time.UnixMicro(now)},
				{Kind: event.NoticePaid, Channel: event.ChannelSMS, Status: notificationservice.Waiting},
				{Kind: event.NoticePaid, Channel: event.ChannelPush, Status: notificationservice.Skipped},
				{Kind: event.NoticeShipped, Channel: event.ChannelEmail, Status: notificationservice.Failed},
				{Kind: event.NoticeShipped, Channel: event.ChannelSMS, Status: notificationservice.Skipped},
				{Kind: event.NoticeShipped, Channel: event.ChannelPush, Status: notificationservice.Sent, SentAt: time.UnixMicro(now)},
			}},
			row{Notices: &notices{[]string{"paid/email", "shipped/push"}}},
		},
	} {
		data, err := json.Marshal(c.state)
		if err != nil {
			t.Fatal(err)
		}
		got := row{Service: s}
		got.readState(data)
		c.want.Service = s
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s (-want +got)\n%s", s, data, diff)
		}
		for _, empty := range []string{`{}`, `{`} {
			got := row{Service: s}
			got.readState([]byte(empty))
			if (got.Unreadable == "") != (empty == `{}`) {
				t.Errorf("%s: %s is unreadable: %q", s, empty, got.Unreadable)
			}
		}
	}
	old := row{Service: notification}
	old.readState([]byte(`{"notices":[{"kind":"paid","channel":"sms","status":"SENT","sentAt":"2026-01-02T03:04:05Z"},{"kind":"paid","channel":"push","status":"WAITING"}]}`))
	if diff := cmp.Diff([]string{"paid/sms"}, old.Notices.Sent); diff != "" {
		t.Errorf("rows of an earlier release (-want +got)\n%s", diff)
	}
}
