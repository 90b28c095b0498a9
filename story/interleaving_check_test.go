package story_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/notification"
	"millrace/handlers/order"
	"millrace/handlers/shipping"
)

var errInterleavingLooked = errors.New("only a look")

// stockLevels reads the levels, without changing them.
func (w *interleavingWorld) stockLevels() map[string]inventory.Level {
	levels := map[string]inventory.Level{}
	err := w.stock.store.UpdateSide(w.command(), interleavingSKUs, func(stock map[string]*inventory.Level) error {
		for sku, level := range stock {
			levels[sku] = *level
		}
		return errInterleavingLooked
	})
	if !errors.Is(err, errInterleavingLooked) {
		w.t.Fatalf("look at the stock: %v", err)
	}
	return levels
}

func (w *interleavingWorld) levels() string { return fmt.Sprint(w.stockLevels()) }

// checkStep is what holds at every moment.
func (w *interleavingWorld) checkStep() {
	w.t.Helper()
	for _, o := range w.scenario.orders {
		w.checkBooks(o)
	}
	if w.stockMoved {
		w.checkStock()
	}
	w.stockMoved = false
}

func (w *interleavingWorld) checkStock() {
	w.t.Helper()
	reserved, sold := map[string]int64{}, map[string]int64{}
	for _, o := range w.scenario.orders {
		row, _ := w.stock.row(o.id)
		for _, it := range row.Items {
			switch row.Status {
			case inventory.Reserved:
				reserved[it.SKU] += it.Quantity
			case inventory.Sold:
				sold[it.SKU] += it.Quantity
			}
		}
	}
	for sku, l := range w.stockLevels() {
		if l.Initial+l.Restocked != l.Available+l.Reserved+l.Sold || l.Available < 0 || l.Reserved != reserved[sku] || l.Sold != sold[sku] {
			w.t.Fatalf("the stock does not add up: %+v; orders hold %d reserved and %d sold", l, reserved[sku], sold[sku])
		}
	}
}

// checkBooks asks those outside: one capture, one refund, one parcel at most.
func (w *interleavingWorld) checkBooks(o interleavingOrder) {
	w.t.Helper()
	account := w.bank.Account(o.id)
	if len(account.Charges) > 1 || account.Captures > 1 || account.Refunded > account.Captures {
		w.t.Fatalf("the provider's book: %+v", account)
	}
	if account.Captures == 1 && account.CapturedAmount != o.total() || account.RefundedAmount != int64(account.Refunded)*account.CapturedAmount {
		w.t.Fatalf("the provider's book: %+v, the order is over %d", account, o.total())
	}
	if parcel := w.carrier.parcels[o.id]; parcel != nil && len(parcel.bookings) > 1 {
		w.t.Fatalf("the carrier's book: %+v", parcel)
	}
}

// checkEnd is what holds when nothing is left to happen.
func (w *interleavingWorld) checkEnd() {
	w.t.Helper()
	for _, n := range w.nodes {
		if waits := n.memory().Waits(); len(waits) > 0 {
			w.t.Fatalf("%s still waits for %v", n.service(), waits)
		}
	}
	for _, l := range w.stockLevels() {
		if l.Reserved != 0 {
			w.t.Fatalf("pieces are still reserved: %+v", l)
		}
	}
	for _, o := range w.scenario.orders {
		w.checkOrder(o)
		w.checkHistory(o)
		w.checkNotices(o)
	}
	w.checkSums()
}

func (w *interleavingWorld) checkOrder(o interleavingOrder) {
	w.t.Helper()
	row, _ := w.order.row(o.id)
	reservation, _ := w.stock.row(o.id)
	said := w.said[o.id]
	account := w.bank.Account(o.id)
	kept := account.CapturedAmount - account.RefundedAmount
	var box interleavingParcel
	if p := w.carrier.parcels[o.id]; p != nil {
		box = *p
	}
	if said.status != row.Status {
		w.t.Fatalf("order %s is %s, but %s was the last it said", o.id, row.Status, said.status)
	}
	switch row.Status {
	case event.OrderDelivered:
		if kept != o.total() || reservation.Status != inventory.Sold || o.command.ShippingAddress != nil && box.ended != shipping.Delivered {
			w.t.Fatalf("order %s is delivered: money kept %d of %d, stock %s, parcel %+v", o.id, kept, o.total(), reservation.Status, box)
		}
		w.reached("ended DELIVERED")
	case event.OrderIsCancelled:
		w.checkUndone(o.id)
		if lost := w.lost(o.id); lost != (reservation.Status == inventory.Sold) {
			w.t.Fatalf("order %s is cancelled: its parcel is lost: %v, its stock is %s", o.id, lost, reservation.Status)
		}
		atLarge := !box.bookedAt.IsZero() && (box.ended == "" || box.ended == shipping.Delivered)
		if atLarge && !w.solved[o.id] {
			w.t.Fatalf("order %s is cancelled, and its parcel is on its way: %+v", o.id, box)
		}
		w.reached("ended CANCELLED for " + string(row.Reason))
	default:
		w.t.Fatalf("order %s ended %s(%s): %+v", o.id, row.Status, row.Reason, row)
	}
	// Payment has given the one word, or was never asked.
	_, asked := w.payment.row(o.id)
	money, stock, parcel := said.once["succeeded or failed"], said.once["failed or stock sold"], said.once["failed or parcel sent"]
	if money != asked || stock != asked || parcel != asked {
		w.t.Fatalf("order %s: payment knows of it: %v, and gave its word: %v, %v, %v", o.id, asked, money, stock, parcel)
	}
}

// checkUndone holds from the moment on an order says that it is cancelled.
func (w *interleavingWorld) checkUndone(id event.OrderID) {
	w.t.Helper()
	account := w.bank.Account(id)
	if kept := account.CapturedAmount - account.RefundedAmount; kept != 0 && !w.settled[id] {
		w.t.Fatalf("order %s is cancelled, and %d is kept", id, kept)
	}
	// Of a lost parcel it may still have to hear that it was sold.
	if row, _ := w.stock.row(id); row.Status == inventory.Reserved && !w.lost(id) {
		w.t.Fatalf("order %s is cancelled, and its stock is %s", id, row.Status)
	}
}

func (w *interleavingWorld) lost(id event.OrderID) bool {
	return interleavingHas(w.said[id], func(e event.ShippingStatus) bool { return e.Status == event.ParcelLost })
}

// checkHistory rebuilds the order from its history.
func (w *interleavingWorld) checkHistory(o interleavingOrder) {
	w.t.Helper()
	var facts []order.Fact
	for _, entry := range w.order.rows.History(o.id) {
		fact, err := order.DecodeFact(entry.Type, entry.Data)
		w.must(err)
		facts = append(facts, fact)
	}
	row, _ := w.order.row(o.id)
	if got, want := interleavingJSON(order.Replay(o.id, facts)), interleavingJSON(row); got != want {
		w.t.Fatalf("order %s is not what its history says:\n%s", o.id, cmp.Diff(want, got))
	}
}

func interleavingJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// checkNotices compares what went out with what was said: each kind of news once on each channel.
func (w *interleavingWorld) checkNotices(o interleavingOrder) {
	w.t.Helper()
	want := map[event.NoticeKind]bool{}
	for _, e := range w.said[o.id].events {
		if kind, told := notification.Kind(e); told {
			want[kind] = true
		}
	}
	row, _ := w.notices.row(o.id)
	got := map[event.NoticeKind]bool{}
	for _, n := range row.Notices {
		got[n.Kind] = true
		_, sent := w.sender.sent[string(o.id)+"/"+n.Step()]
		confirmed := interleavingHas(w.said[o.id], func(e event.NotificationSent) bool { return e.Kind == n.Kind && e.Channel == n.Channel })
		if sent != (n.Status == notification.Sent) || sent != confirmed || n.Status == notification.Waiting {
			w.t.Fatalf("order %s: notice %+v, sent %v, said to be sent %v", o.id, n, sent, confirmed)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("order %s: kinds of notice (-want +got):\n%s", o.id, diff)
	}
}

// interleavingMoney moved in a minute.
type interleavingMoney struct {
	minute string
	amount int64
}

// checkSums recounts what analytics counted from what was published.
func (w *interleavingWorld) checkSums() {
	w.t.Helper()
	want := map[string]int64{}
	placed, paid := map[event.OrderID]bool{}, map[event.OrderID]bool{}
	// Topics keep no order among each other: a refund may be in the log before the capture.
	captured, refused, refunded := map[event.OrderID]interleavingMoney{}, map[event.OrderID]interleavingMoney{}, map[event.OrderID]interleavingMoney{}
	for _, e := range w.log {
		minute := e.at.Format("15:04 ")
		switch e := e.Event.(type) {
		case event.OrderCreated:
			placed[e.OrderID] = true
			want[minute+"placed"]++
		case event.OrderStatusUpdated:
			switch e.Status {
			case event.OrderPaid:
				paid[e.OrderID] = true
				want[minute+"paid"]++
			case event.OrderShipped, event.OrderDelivered:
				want[minute+strings.ToLower(string(e.Status))]++
			case event.OrderIsCancelled:
				want[minute+"cancelled "+string(e.Reason)]++
			}
		case event.PaymentSucceeded:
			captured[e.OrderID] = interleavingMoney{minute, e.Total.Amount}
		case event.PaymentRefundFailed:
			if _, again := refused[e.OrderID]; !again {
				refused[e.OrderID] = interleavingMoney{minute, e.Total.Amount}
			}
		case event.PaymentRefunded:
			refunded[e.OrderID] = interleavingMoney{minute, e.Total.Amount}
		}
	}
	for id := range placed {
		if paid[id] {
			want["time to paid"]++
		}
		money, ok := captured[id]
		if !ok { // a refund that was refused is proof of a capture nobody spoke of
			money, ok = refused[id]
		}
		if !ok { // what was captured then went back at once
			continue
		}
		want[money.minute+"revenue EUR"] += money.amount
		if back, ok := refunded[id]; ok {
			want[back.minute+"revenue EUR"] -= back.amount
		}
	}
	got := map[string]int64{}
	for _, s := range w.sums.rows.Sums() {
		name := strings.TrimSpace(s.Minute.Format("15:04 ") + s.Name + " " + s.Key)
		if s.Name == "time to paid" {
			name = s.Name // the bucket is analytics' own affair
		}
		got[name] += s.N
	}
	for name, n := range want {
		if n == 0 {
			delete(want, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("the sums (-recounted +counted):\n%s", diff)
	}
}

// interleavingEnd is how one order ended, as far as it must not depend on the interleaving.
type interleavingEnd struct {
	Order                          order.Order
	Payment, Reservation, Shipment string
	Captured, Refunded             int64
	Booked                         int
	Released                       bool
	Notices                        []string
}

// end leaves one thing out: the notice that a payment is pending. Payment cannot tell of
// it when the provider's decision reaches it before the answer that there was none yet.
func (w *interleavingWorld) end(id event.OrderID) interleavingEnd {
	account := w.bank.Account(id)
	end := interleavingEnd{Captured: account.CapturedAmount, Refunded: account.RefundedAmount}
	end.Order, _ = w.order.row(id)
	end.Order.TakeFacts()
	end.Order.Payment.Pending = false
	payment, _ := w.payment.row(id)
	reservation, _ := w.stock.row(id)
	shipment, _ := w.shipping.row(id)
	end.Payment, end.Reservation, end.Shipment = string(payment.Status), string(reservation.Status), string(shipment.Status)
	if parcel := w.carrier.parcels[id]; parcel != nil {
		end.Booked = len(parcel.bookings)
	}
	end.Released = interleavingHas(w.said[id], func(event.InventoryReleased) bool { return true })
	row, _ := w.notices.row(id)
	for _, n := range row.Notices {
		if n.Kind != event.NoticePending {
			end.Notices = append(end.Notices, fmt.Sprint(n.Kind, " ", n.Channel, " ", n.Status))
		}
	}
	slices.Sort(end.Notices)
	return end
}
