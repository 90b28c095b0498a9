package verify

import (
	"slices"
	"strings"
)

// checkOnce is I2: each effect happens once. The provider's book is the witness of money, the sender's
// of notices; of the rest, what was said is: nothing is said twice under two ids, and of what excludes
// each other only one is said. And no row has taken one cause for a new one a second time.
func checkOnce(o *order, _ *look, f *findings) {
	f.checked(i2, 1)
	for s, list := range o.twice {
		for _, cause := range list {
			f.wrong(i2, o, o.placesOf(cause), "%s has processed %s twice", service(s), cause)
		}
	}
	o.moneyMovedOnce(f)
	o.noticesWentOnce(f)
	said := map[string]*record{}
	for _, r := range o.events {
		if !r.ours() || r.Source != flow[r.Kind].publisher {
			continue
		}
		name := onceOnly(r)
		if name == "" {
			continue
		}
		if before := said[name]; before != nil {
			f.wrong(i2, o, places(before, r), "%s was said twice, as version %d and as version %d", r.what(), before.Version, r.Version)
			continue
		}
		said[name] = r
	}
	for _, two := range []struct {
		a, b kind
		why  string
	}{
		{inventoryReserved, inventoryRejected, "stock was both reserved and refused"},
		{paymentSucceeded, paymentFailed, "the payment has both succeeded and failed"},
		{inventoryUpdate, paymentFailed, "the goods were sold, and the payment failed"},
		{shippingInitiate, paymentFailed, "a parcel was asked for, and the payment failed"},
	} {
		if a, b := said[flow[two.a].event], said[flow[two.b].event]; a != nil && b != nil {
			f.wrong(i2, o, places(a, b), "%s", two.why)
		}
	}
}

// placesOf is where an event lies; nothing for another cause.
func (o *order) placesOf(cause id) []string {
	if r := o.lookup[cause]; r != nil {
		return places(r)
	}
	return nil
}

// onceOnly names what may be said once of an order; empty for an event that may come more often.
func onceOnly(r *record) string {
	name := flow[r.Kind].event
	switch r.Kind {
	case paymentRefundFailed: // each refund that is tried may be refused
		return ""
	case orderStatusUpdated, shippingStatus: // nothing enters a status twice
		return name + "/" + r.Status
	case notificationSent:
		return name + "/" + r.Status + "/" + r.Reason
	}
	return name
}

// moneyMovedOnce reads the provider's book.
func (o *order) moneyMovedOnce(f *findings) {
	a := o.Account
	if a == nil {
		return
	}
	if a.Captures > 1 {
		f.wrong(i2, o, nil, "the provider captured its money %d times", a.Captures)
	}
	if a.Refunded > max(a.Captures, 0) {
		f.wrong(i2, o, nil, "the provider refunded it %d times, and captured %d times", a.Refunded, a.Captures)
	}
	charge, refund := o.ID.String()+"/charge", o.ID.String()+"/refund"
	for _, key := range a.Charges {
		if key != charge {
			f.wrong(i2, o, nil, "it was charged under the key %q; a charge has the key %q, for ever", key, charge)
		}
	}
	for _, key := range a.Refunds {
		if key != refund && !strings.HasPrefix(key, refund+"-") {
			f.wrong(i2, o, nil, "it was refunded under the key %q; refunds have the keys %q, %s-2 and so on", key, refund, refund)
		}
	}
}

// noticesWentOnce reads the built-in sender's book, which is by idempotency key: another key would be
// another notice.
func (o *order) noticesWentOnce(f *findings) {
	seen := map[string]string{}
	for _, s := range o.Sent {
		notice := s.Kind + "/" + s.Channel
		if before, twice := seen[notice]; twice {
			f.wrong(i2, o, nil, "the notice %q was sent twice, under the keys %q and %q", notice, before, s.Key)
			continue
		}
		seen[notice] = s.Key
		r := o.Rows[notification]
		if r == nil || r.Unreadable != "" || len(r.Waiting) > 0 {
			continue // it may have gone out a moment ago
		}
		if !slices.Contains(r.Notices.Sent, notice) {
			f.wrong(i2, o, nil, "the notice %q was sent, and the notification service does not know it", notice)
		}
	}
}
