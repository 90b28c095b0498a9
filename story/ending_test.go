//go:build unix

package story_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"millrace/event"
)

// lastIs is nil if a list of statuses ends with one.
func lastIs(statuses, want string) error {
	if !strings.HasSuffix(" "+statuses, " "+want) {
		return fmt.Errorf("so far it is %q", statuses)
	}
	return nil
}

// ending is what all services show of an order when its story is over. Nothing in it is
// left out: an empty field says that there is nothing.
type ending struct {
	Status event.OrderStatus
	Reason event.CancelReason
	// Way is the statuses the order entered after PENDING.
	Way string
	// Payment is its status and, if it failed, why.
	Payment string
	Stock   string // the reservation
	// Parcel is the statuses the parcel entered.
	Parcel string
	// Told is the kinds of notice the customer was sent, sorted.
	Told string
	// Captured and Refunded are how often the provider moved the money, by its own books.
	Captured, Refunded int
	// Available and Sold are pieces of the order's article; none are reserved.
	Available, Sold int64
}

// told is the kinds of notice as an ending has them.
func told(kinds ...event.NoticeKind) string {
	slices.Sort(kinds)
	var text []string
	for _, kind := range slices.Compact(kinds) {
		text = append(text, string(kind))
	}
	return strings.Join(text, ", ")
}

// ends waits until everything is as want says, and fails with the difference.
func (o *placed) ends(want ending) {
	o.t.Helper()
	o.endsAsOneOf(want)
}

// endsAsOneOf is ends where a race decides which it is.
func (o *placed) endsAsOneOf(want ...ending) {
	o.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * look) // seven requests each time
	defer tick.Stop()
	for ; ; <-tick.C {
		got, err := o.looks()
		if err == nil && slices.Contains(want, got) {
			return
		}
		if time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			o.t.Errorf("order %s: %v", o.id, err)
		}
		for _, w := range want {
			o.t.Errorf("order %s does not end as it should (-want +got):\n%s", o.id, gocmp.Diff(w, got))
		}
		for _, n := range o.nodes {
			o.t.Logf("the log of the router with %v about it:\n%s", n.services, n.logged(o.id))
		}
		o.t.FailNow()
	}
}

// looks is what all services show of the order now.
func (o *placed) looks() (now ending, err error) {
	var view struct {
		Status  event.OrderStatus
		Reason  event.CancelReason
		Version int64
	}
	if err := o.read("/orders/"+o.id+"/status", &view); err != nil {
		return now, fmt.Errorf("the order: %w", err)
	}
	now.Status, now.Reason = view.Status, view.Reason
	way, err := o.way()
	if err != nil {
		return now, err
	}
	now.Way = strings.Join(way, " ")
	for _, part := range []func(*ending) error{o.looksPaid, o.looksHeld, o.looksShipped, o.looksTold, o.looksInTheBooks} {
		if err := part(&now); err != nil {
			return now, err
		}
	}
	return now, nil
}

func (o *placed) looksPaid(now *ending) error {
	p, err := o.payment()
	now.Payment = strings.TrimSpace(p.Status + " " + p.Reason)
	return err
}

// paymentView is what GET /payments/{orderId} shows.
type paymentView struct {
	Status, Reason string
	Attempts       int
	Amount         int64
	Refund         *struct {
		Number int
		Note   string
	}
}

// payment is the order's; empty where there is none.
func (o *placed) payment() (p paymentView, err error) {
	if err := o.read("/payments/"+o.id, &p); err != nil && !errors.Is(err, errNotThere) {
		return p, fmt.Errorf("the payment: %w", err)
	}
	return p, nil
}

func (o *placed) looksHeld(now *ending) error {
	var reservation struct{ Status string }
	if err := o.read("/reservations/"+o.id, &reservation); err != nil && !errors.Is(err, errNotThere) {
		return fmt.Errorf("the reservation: %w", err)
	}
	now.Stock = reservation.Status
	if o.sharesArticle {
		return nil
	}
	var level struct{ Available, Reserved, Sold int64 }
	switch err := o.read("/inventory/"+o.body.Items[0].SKU, &level); {
	case errors.Is(err, errNotThere):
	case err != nil:
		return fmt.Errorf("the stock: %w", err)
	case level.Reserved != 0:
		return fmt.Errorf("%d pieces are reserved", level.Reserved)
	}
	now.Available, now.Sold = level.Available, level.Sold
	return nil
}

func (o *placed) looksShipped(now *ending) error {
	var shipment struct {
		Status  string
		History []struct{ Status string }
	}
	if err := o.read("/shipments/"+o.id, &shipment); err != nil && !errors.Is(err, errNotThere) {
		return fmt.Errorf("the shipment: %w", err)
	}
	var parcel []string
	for _, entry := range shipment.History {
		parcel = append(parcel, entry.Status)
	}
	now.Parcel = strings.Join(parcel, " ")
	return nil
}

func (o *placed) looksTold(now *ending) error {
	var list struct {
		Notifications []struct{ Kind, Channel, Status string }
	}
	if err := o.read("/notifications?orderId="+o.id, &list); err != nil {
		return fmt.Errorf("the notices: %w", err)
	}
	c := event.Contact{}
	if o.body.Contact != nil {
		c = *o.body.Contact
	}
	reachable := map[string]bool{"email": c.Email != "", "sms": c.Phone != "", "push": c.DeviceToken != ""}
	channels := map[event.NoticeKind]int{}
	for _, n := range list.Notifications {
		want := "SKIPPED"
		if reachable[n.Channel] {
			want = "SENT"
		}
		if n.Status != want {
			return fmt.Errorf("the notice %q by %s is %s, want %s", n.Kind, n.Channel, n.Status, want)
		}
		channels[event.NoticeKind(n.Kind)]++
	}
	var kinds []event.NoticeKind
	for kind, n := range channels {
		if kinds = append(kinds, kind); n != len(reachable) {
			return fmt.Errorf("the notice %q stands on %d channels, want each of %d once", kind, n, len(reachable))
		}
	}
	now.Told = told(kinds...)
	return nil
}

// looksInTheBooks asks the provider, not the payment service.
func (o *placed) looksInTheBooks(now *ending) error {
	rows, err := o.books.Query("SELECT captures, refunded FROM provider.accounts WHERE order_id = $1", o.id)
	if err != nil {
		return fmt.Errorf("the provider's books: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&now.Captured, &now.Refunded); err != nil {
			return fmt.Errorf("the provider's books: %w", err)
		}
	}
	return rows.Err()
}
