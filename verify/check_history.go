package verify

import (
	"slices"
	"strconv"
)

// The entries of a history, by the names it has them under.
const (
	factPlaced              = "Placed"
	factStockReserved       = "StockReserved"
	factStockRejected       = "StockRejected"
	factStockReleased       = "StockReleased"
	factPaymentPending      = "PaymentPending"
	factPaymentSucceeded    = "PaymentSucceeded"
	factPaymentFailed       = "PaymentFailed"
	factPaymentRefunded     = "PaymentRefunded"
	factPaymentRefundFailed = "PaymentRefundFailed"
	factParcelMoved         = "ParcelMoved"
	factStatusChanged       = "StatusChanged"
)

// ways are the statuses that may follow each. The last two have none behind them; CANCELLING comes
// from every status in which a cancel is taken or a parcel can fail.
var ways = map[string][]string{
	statusPending:        {statusAwaiting, statusPaymentFailed, statusCancelled, statusCancelling},
	statusAwaiting:       {statusPaymentPending, statusPaid, statusPaymentFailed, statusCancelling},
	statusPaymentPending: {statusPaid, statusPaymentFailed, statusCancelling},
	statusPaymentFailed:  {statusCancelled, statusNeedsAttention},
	statusPaid:           {statusShipped, statusCancelling},
	statusShipped:        {statusDelivered, statusCancelling},
	statusDelivered:      {statusCancelling},
	statusCancelling:     {statusCancelled, statusNeedsAttention},
	statusNeedsAttention: {statusCancelled},
	statusCancelled:      nil,
}

// checkHistory: an order's history has no gap, each status in it may follow the one before, it adds up to
// the row, and it tells how many events were said. Row and history are written together, so they agree in
// every snapshot.
func checkHistory(o *order, l *look, f *findings) {
	r := o.Rows[orders]
	if !l.has(orders) || r == nil && len(o.History) == 0 || r != nil && r.Unreadable != "" {
		return
	}
	f.checked(ih, 1)
	if r == nil {
		f.wrong(ih, o, nil, "it has a history of %d entries, and no row", len(o.History))
		return
	}
	for i, e := range o.History {
		if e.Version != int64(i+1) {
			f.wrong(ih, o, nil, "entry %d of its history has the version %d", i+1, e.Version)
			return
		}
		if e.Fact.Unreadable != "" {
			f.wrong(ih, o, nil, "version %d of its history (%s) is not readable: %s", e.Version, e.Type, e.Fact.Unreadable)
			return
		}
	}
	if int64(len(o.History)) != r.Version {
		f.wrong(ih, o, nil, "its row is at version %d, its history has %d entries", r.Version, len(o.History))
		return
	}
	rebuilt, said, wrong := o.replay()
	if wrong != "" {
		f.wrong(ih, o, nil, "%s", wrong)
		return
	}
	if what := rebuilt.differs(r.Order); what != "" {
		f.wrong(ih, o, nil, "its history makes it another one than its row: %s", what)
	}
	if said != r.Said {
		f.wrong(ih, o, nil, "by its history it said %d events, its row counts %d", said, r.Said)
	}
	if r.Column != r.Order.Status {
		f.wrong(ih, o, nil, "lists show it as %q, and it is %q", r.Column, r.Order.Status)
	}
}

// replay makes an order of its history, and counts what it said: OrderCreated when it is placed, and at each
// status an OrderStatusUpdated, with PaymentInitiated or OrderCancelled where others have to do something.
func (o *order) replay() (s orderState, said int64, wrong string) {
	for _, e := range o.History {
		switch e.Type {
		case factPlaced:
			s.Status, s.Placed = statusPending, e.Fact.Placed
			said++
		case factStockReserved:
			s.Stock.Reserved = true
		case factStockRejected:
			s.Stock.Rejected = true
		case factStockReleased:
			s.Stock.Released = true
		case factPaymentPending:
			s.Money.Pending = true
		case factPaymentSucceeded:
			s.Money.Succeeded = true
		case factPaymentFailed:
			s.Money.Failed, s.Money.RefundFollows = e.Fact.Reason, e.Fact.RefundFollows
		case factPaymentRefunded:
			s.Money.Refunded = true
		case factPaymentRefundFailed:
			s.Money.RefundFailed = true
		case factParcelMoved:
			s.Parcel = append(s.Parcel, e.Fact.Status)
		case factStatusChanged:
			if e.Fact.Previous != s.Status || !slices.Contains(ways[s.Status], e.Fact.Status) {
				return s, said, "version " + strconv.FormatInt(e.Version, 10) + " of its history goes from " + shown(e.Fact.Previous) + " to " + e.Fact.Status + ", and it was " + shown(s.Status)
			}
			s.Status, s.Reason = e.Fact.Status, e.Fact.Reason
			said++
			if s.Status == statusAwaiting || s.Status == statusCancelling {
				said++
			}
		default:
			return s, said, "version " + strconv.FormatInt(e.Version, 10) + " of its history is a " + e.Type + ", which is not known"
		}
	}
	return s, said, ""
}

// differs names the first difference; empty if there is none.
func (s *orderState) differs(row *orderState) string {
	switch {
	case s.Status != row.Status:
		return "status " + shown(s.Status) + ", the row has " + shown(row.Status)
	case s.Reason != row.Reason:
		return "reason " + shown(s.Reason) + ", the row has " + shown(row.Reason)
	case s.Stock != row.Stock:
		return "what inventory has said"
	case s.Money != row.Money:
		return "what payment has said"
	case !slices.Equal(s.Parcel, row.Parcel):
		return "where the parcel was"
	case s.Placed != row.Placed:
		return "what was ordered"
	}
	return ""
}
