package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"millrace/event"
)

const (
	// storyPatience is how long the last notices may take to be sent.
	storyPatience = 5 * time.Second
	storyPause    = 250 * time.Millisecond
)

// tellFirst is what makes the best story, if it was played: most services have a part in it.
var tellFirst = []string{"cancel-paid", "refund-refused", "ship-lost", "ship-refused", "cancel-pending", "declined", "accepted"}

// Story is one order as all services tell it.
type Story struct {
	OrderID       event.OrderID `json:"orderId"`
	Scenario      string        `json:"scenario"`
	CorrelationID string        `json:"correlationId"`
	outcome
	// Payment, Refund, Stock and Parcel are how things stand at the end, in words.
	Payment string  `json:"payment,omitempty"`
	Refund  string  `json:"refund,omitempty"`
	Stock   string  `json:"stock,omitempty"`
	Parcel  string  `json:"parcel,omitempty"`
	Events  []Event `json:"events"`
}

// Event is something that happened, in order of time. ID is the event's or the notice's, and
// empty for a parcel's; Cause is the event or request it follows from.
type Event struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	What    string    `json:"what"`
	ID      string    `json:"id,omitempty"`
	Cause   string    `json:"cause,omitempty"`
}

func (r *Report) story(ctx context.Context, d *run) {
	o := d.protagonist()
	if o == nil {
		return
	}
	s := &Story{OrderID: o.id, Scenario: o.scenario.Name, outcome: outcome{o.status, o.reason}}
	for _, tell := range []func(context.Context, *run) error{s.tellOrder, s.tellPayment, s.tellStock, s.tellParcel, s.tellNotices} {
		// What another port serves is left out; it is missed by nobody but the reader.
		if err := tell(ctx, d); err != nil && statusOf(err) != http.StatusNotFound {
			r.note("the story of order %s is not whole: %v", o.id, err)
		}
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	r.Story = s
}

// protagonist is the first order of the best scenario that ended; nil if none did.
func (r *run) protagonist() *order {
	ended := slices.DeleteFunc(slices.Clone(r.orders), func(o *order) bool { return !o.ended() })
	if len(ended) == 0 {
		return nil
	}
	appeal := func(o *order) int {
		if i := slices.Index(tellFirst, o.scenario.Name); i >= 0 {
			return i
		}
		return len(tellFirst)
	}
	return slices.MinFunc(ended, func(a, b *order) int { return cmp.Compare(appeal(a), appeal(b)) })
}

func (s *Story) tellOrder(ctx context.Context, d *run) error {
	var history []historyEntry
	if err := d.read(ctx, "/orders/"+string(s.OrderID)+"/events", &history); err != nil {
		return err
	}
	for _, e := range history {
		s.CorrelationID = cmp.Or(s.CorrelationID, e.CorrelationID)
		s.Events = append(s.Events, Event{At: e.OccurredAt, Service: "order", What: inWords(e), ID: e.EventID, Cause: e.CausationID})
	}
	return nil
}

// inWords is a fact's name, and the most telling thing in it.
func inWords(e historyEntry) string {
	var data factBody
	if json.Unmarshal(e.Data, &data) != nil {
		return e.Type
	}
	words := []string{e.Type}
	if e.Type == "StatusChanged" {
		words = nil
	}
	words = append(words, data.Status, data.Reason, data.Cause)
	if data.Total.Amount > 0 {
		words = append(words, amount(data.Total.Amount, data.Total.Currency))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

func (s *Story) tellPayment(ctx context.Context, d *run) error {
	var p paymentBody
	if err := d.read(ctx, "/payments/"+string(s.OrderID), &p); err != nil {
		return err
	}
	s.Payment = p.Status + ", " + amount(p.Amount, p.Currency)
	if p.ProviderRef != "" {
		s.Payment += ", charge " + p.ProviderRef
	}
	if p.Refund != nil {
		s.Refund = p.Refund.ProviderRef // empty where the provider has none, as after an operator's word
	}
	return nil
}

func (s *Story) tellStock(ctx context.Context, d *run) error {
	var reservation reservationBody
	if err := d.read(ctx, "/reservations/"+string(s.OrderID), &reservation); err != nil {
		return err
	}
	s.Stock = reservation.Status
	for i, line := range reservation.Items {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		s.Stock += fmt.Sprintf("%s%d %s", separator, line.Quantity, line.SKU)
	}
	return nil
}

func (s *Story) tellParcel(ctx context.Context, d *run) error {
	var shipment shipmentBody
	if err := d.read(ctx, "/shipments/"+string(s.OrderID), &shipment); err != nil {
		return err
	}
	s.Parcel = shipment.Status
	if shipment.TrackingNumber != "" {
		s.Parcel += ", " + shipment.TrackingNumber
	}
	for _, e := range shipment.History {
		s.Events = append(s.Events, Event{At: e.At, Service: "shipping", What: "parcel " + e.Status})
	}
	return nil
}

// tellNotices waits a moment: the last notice goes out after the order has ended.
func (s *Story) tellNotices(ctx context.Context, d *run) error {
	var notices notificationsBody
	for end := time.Now().Add(storyPatience); ; {
		if err := d.read(ctx, "/notifications?orderId="+url.QueryEscape(string(s.OrderID)), &notices); err != nil {
			return err
		}
		waiting := false
		for _, n := range notices.Notifications {
			waiting = waiting || n.Status == "WAITING"
		}
		if len(notices.Notifications) > 0 && !waiting || !time.Now().Before(end) || !sleep(ctx, storyPause) {
			break
		}
	}
	for _, n := range notices.Notifications {
		if n.Status == "SENT" {
			s.Events = append(s.Events, Event{At: n.SentAt, Service: "notification", What: n.Channel + ": " + n.Kind, ID: n.NotificationID})
		}
	}
	return nil
}
