package shipping

import (
	"slices"
	"time"

	"millrace/event"
)

// Shipment is what shipping knows of one order.
type Shipment struct {
	ID event.OrderID `json:"id"`
	// Status is the last one that was said. Empty: nothing was asked of shipping yet; if
	// Cancelled, the row is a tombstone, and STOPPED has been said.
	Status event.ParcelStatus `json:"status"`
	// Cancelled: OrderCancelled was heard.
	Cancelled bool         `json:"cancelled,omitempty"`
	Items     []event.Item `json:"items,omitempty"`
	// Address is nil for an order that is collected in the shop: no carrier is called.
	Address        *event.Address `json:"address,omitempty"`
	Carrier        string         `json:"carrier,omitempty"`
	TrackingNumber string         `json:"trackingNumber,omitempty"`
	// BookedAt is when the carrier had taken the booking; zero before.
	BookedAt time.Time `json:"bookedAt,omitzero"`
	// History has an entry for each status entered. A shipment never goes back to an
	// earlier one, so there are five at most.
	History []Entry `json:"history,omitempty"`
}

// Entry is one status a shipment entered.
type Entry struct {
	Status event.ParcelStatus `json:"status"`
	At     time.Time          `json:"at"`
	// Note is the operator's, where one resolved the shipment.
	Note string `json:"note,omitempty"`
}

// Due is what a shipment waits for: at most one call to the carrier. A shipment
// that waits for nothing has ended, or a message or an operator moves it on.
func (p Policy) Due(s *Shipment) []event.Wait {
	switch {
	case s.Status == event.ParcelPreparing && s.Cancelled:
		return []event.Wait{{Step: stepStop}}
	case s.Status == event.ParcelPreparing && s.BookedAt.IsZero():
		return []event.Wait{{Step: stepBook}}
	case s.Status == event.ParcelPreparing:
		return []event.Wait{{Step: stepTrackShipped, After: p.Step}}
	case s.Status == event.ParcelShipped && s.Cancelled:
		return []event.Wait{{Step: stepRecall}}
	case s.Status == event.ParcelShipped:
		return []event.Wait{{Step: stepTrackDelivered, After: p.Step}}
	}
	return nil
}

func (s *Shipment) initiate(e event.ShippingInitiate, at time.Time) []event.Event {
	if s.Status != "" {
		return nil
	}
	s.Items, s.Address = e.Items, e.ShippingAddress
	if s.Cancelled {
		// STOPPED was said on the cancel; now the row has an order it is true of.
		s.record(event.ParcelStopped, at, "")
		return nil
	}
	return s.enter(event.ParcelPreparing, at, "")
}

func (s *Shipment) cancel(at time.Time) []event.Event {
	if s.Cancelled {
		return nil
	}
	s.Cancelled = true
	if s.Status == "" {
		return []event.Event{event.ShippingStatus{OrderID: s.ID, Status: event.ParcelStopped}}
	}
	return s.obey(at)
}

// obey does what a cancel asks for where that needs no carrier: a refused parcel
// stays here, a delivered one is past recall. Preparing and shipped ones wait for
// the carrier; returned ones have said what there is to say, and lost ones
// answer nothing.
func (s *Shipment) obey(at time.Time) []event.Event {
	if !s.Cancelled {
		return nil
	}
	switch s.Status {
	case event.ParcelRefused:
		return s.enter(event.ParcelStopped, at, "")
	case event.ParcelDelivered:
		return s.enter(event.ParcelRecallFailed, at, "")
	}
	return nil
}

// learn takes a carrier's report. news is false where it changes nothing, being
// out of date or impossible. Statuses that were passed unheard are said as well: a
// parcel that is delivered, back or lost had left.
func (s *Shipment) learn(r Report, at time.Time) (said []event.Event, news bool) {
	reported, ok := s.follows(r.State)
	if !ok {
		return nil, false
	}
	if r.Carrier != "" {
		s.Carrier = r.Carrier
	}
	if r.TrackingNumber != "" {
		s.TrackingNumber = r.TrackingNumber
	}
	if s.BookedAt.IsZero() && r.State != Refused && r.State != Stopped {
		s.BookedAt = at
	}
	for _, status := range reported {
		said = append(said, s.enter(status, at, "")...)
	}
	return append(said, s.obey(at)...), true
}

// follows is the table of what a report means where the parcel stands: the statuses
// it enters, none for a booking; false if it means nothing there.
func (s *Shipment) follows(state State) ([]event.ParcelStatus, bool) {
	enters := func(status ...event.ParcelStatus) ([]event.ParcelStatus, bool) { return status, true }
	switch s.Status {
	case event.ParcelPreparing:
		switch state {
		case Booked:
			// While it is to be stopped, a booking is no news: the stop covers it.
			return nil, s.BookedAt.IsZero() && !s.Cancelled
		case Refused:
			return enters(event.ParcelRefused)
		case Stopped:
			if s.Cancelled {
				return enters(event.ParcelStopped)
			}
		case InTransit:
			return enters(event.ParcelShipped)
		case Delivered:
			return enters(event.ParcelShipped, event.ParcelDelivered)
		case Returned:
			return enters(event.ParcelShipped, event.ParcelReturned)
		case Lost:
			return enters(event.ParcelShipped, event.ParcelLost)
		}
	case event.ParcelShipped:
		switch state {
		case Delivered:
			return enters(event.ParcelDelivered)
		case Returned:
			return enters(event.ParcelReturned)
		case Lost:
			return enters(event.ParcelLost)
		case NotRecalled:
			if s.Cancelled {
				return enters(event.ParcelRecallFailed)
			}
		}
	case event.ParcelRecallFailed:
		switch {
		case state == Returned:
			return enters(event.ParcelReturned)
		case state == Lost && !s.passed(event.ParcelDelivered):
			return enters(event.ParcelLost)
		}
	}
	return nil, false
}

func (s *Shipment) passed(status event.ParcelStatus) bool {
	return slices.ContainsFunc(s.History, func(e Entry) bool { return e.Status == status })
}

// enter takes on a status and says so.
func (s *Shipment) enter(status event.ParcelStatus, at time.Time, note string) []event.Event {
	s.record(status, at, note)
	return []event.Event{event.ShippingStatus{
		OrderID: s.ID, Status: status, Carrier: s.Carrier, TrackingNumber: s.TrackingNumber,
	}}
}

func (s *Shipment) record(status event.ParcelStatus, at time.Time, note string) {
	s.Status = status
	// A new array each time: the row this one is a copy of may share the old one.
	s.History = append(slices.Clip(s.History), Entry{Status: status, At: at.UTC(), Note: note})
}
