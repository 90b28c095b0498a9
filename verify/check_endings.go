package verify

import (
	"fmt"
	"slices"
	"time"
)

// checkEndings is I6: every order ends in time, or there is a reason that can be named; nothing it waits
// for is forgotten; and one that has ended has settled everything.
func checkEndings(o *order, l *look, f *findings) {
	for s, r := range o.Rows {
		if r == nil {
			continue
		}
		for _, step := range r.Waiting {
			if !o.waits(service(s), step) {
				f.wrong(i6, o, nil, "its row at %s waits for %q, and nothing will ever do that", r.Service, step)
			}
		}
	}
	if !o.placed() {
		return
	}
	f.checked(i6, 1)
	row := o.Rows[orders]
	switch status := row.Order.Status; status {
	case statusDelivered, statusCancelled:
		for _, w := range o.Waits {
			if l.atRest {
				f.wrong(i6, o, nil, "it is %s, the system is said to be at rest, and %s still waits for %q (%d calls so far)", status, w.Service, w.Step, w.Attempt)
			}
		}
	case statusNeedsAttention:
		f.listed(o, status, []string{"an operator has to resolve it"})
	default:
		if len(row.Waiting) == 0 {
			f.wrong(i6, o, nil, "it is %s, and has no deadline", status)
			return
		}
		age := time.Duration(l.at[orders]-row.Created) * time.Microsecond
		if !l.atRest && age <= time.Duration(l.patience+l.lags[orders])*time.Microsecond {
			return
		}
		reasons := o.reasons(l)
		if len(reasons) == 0 {
			if o.stands { // that has been said
				return
			}
			f.wrong(i6, o, nil, "it is still %s %s after it was placed, and %s", status, age.Round(time.Second), o.next(l))
			return
		}
		f.listed(o, status, reasons)
	}
	o.hasSettled(f)
}

// waits tells whether the executor will do what a row waits for.
func (o *order) waits(s service, step string) bool {
	return slices.ContainsFunc(o.Waits, func(w wait) bool { return w.Service == s && w.Step == step })
}

// next is what will happen to an order that has not ended: it tells who looked too early.
func (o *order) next(l *look) string {
	what, soonest := "nothing that is to be seen will happen to it", time.Duration(0)
	for _, w := range o.Waits {
		if left := time.Duration(w.Due-l.at[w.Service]) * time.Microsecond; left > 0 && (soonest == 0 || left < soonest) {
			soonest = left
			what = fmt.Sprintf("the next that happens to it is %q at %s, in %s: look again then", w.Step, w.Service, left.Round(time.Second))
		}
	}
	return what
}

// reasons are why an order has not ended: what is held up by a failure, and, while the system is not said
// to be at rest, what is on its way, or is asked of the outside again and again. What should have gone on
// long ago is no reason: checkStandstill names it.
func (o *order) reasons(l *look) (list []string) {
	for i := range o.Letters {
		switch one := &o.Letters[i]; {
		case !slices.Contains(core, one.Service): // nobody waits for what it says
		case one.open() && one.Status != letterParked:
			list = append(list, "held up by "+one.where())
		case one.Status == letterDropped && !isGivenUpUnread(one):
			list = append(list, "somebody gave up "+one.where())
		}
	}
	for _, d := range o.Decided {
		if slices.Contains(core, d.Service) {
			list = append(list, fmt.Sprintf("somebody decided about a letter of it at %s, so long ago that the letter is not kept", d.Service))
		}
	}
	for _, s := range core {
		if !l.has(s) {
			list = append(list, fmt.Sprintf("what %s does about it is not known: its rows were not read", s))
		}
	}
	if where := l.hides(o.ID); where != "" {
		list = append(list, "what comes next may wait in "+where+" for the end of somebody else's transaction")
	}
	if l.atRest {
		return list
	}
	for _, n := range o.Lanes {
		if n.Due != 0 && slices.Contains(core, n.Service) && l.late(n.Service, n.Due) == 0 {
			list = append(list, fmt.Sprintf("%s goes on with what waited behind a letter", n.Service))
		}
	}
	for i := range o.Unsent {
		if r := &o.Unsent[i]; l.late(r.Source, r.Stamp) == 0 {
			list = append(list, "not published yet: "+r.where())
		}
	}
	for _, s := range core {
		for _, r := range o.events {
			if l.has(s) && hears(s, r.Kind) && r.Row == 0 && !o.hasHeard(s, r) && l.late(s, r.Stamp) == 0 {
				list = append(list, fmt.Sprintf("%s has yet to hear %s", s, r.where()))
			}
		}
	}
	for i := range o.Waits {
		w := &o.Waits[i]
		if (w.Service == payments || w.Service == shipping) && l.late(w.Service, l.due(w)) == 0 {
			list = append(list, fmt.Sprintf("%s waits for %q (%d calls so far)", w.Service, w.Step, w.Attempt))
		}
	}
	return list
}

// hasSettled compares what a quiet order has come to with what the services have. The others may still
// have something on its way.
func (o *order) hasSettled(f *findings) {
	if status := o.Rows[orders].Order.Status; (status == statusDelivered || status == statusCancelled) && o.exempt(core...) {
		f.exempt(i6)
	}
	if !o.quiet {
		return
	}
	var money, stock, parcel string
	if r := o.Rows[payments]; r != nil {
		money = r.Payment.Status
	}
	if r := o.Rows[inventory]; r != nil {
		stock = r.Stock.Status
	}
	if r := o.Rows[shipping]; r != nil {
		parcel = r.Parcel.Status
	}
	status := o.Rows[orders].Order.Status
	switch status {
	case statusDelivered:
		if money != moneySucceeded || stock != stockSold || parcel != parcelDelivered {
			f.wrong(i6, o, nil, "it is %s, but its payment is %s, its stock %s, its parcel %s", status, shown(money), shown(stock), shown(parcel))
		}
	case statusCancelled:
		if !slices.Contains([]string{"", moneyFailed, moneyRefunded}, money) {
			f.wrong(i6, o, nil, "it is %s, but its payment is %s", status, money)
		}
		if stock == stockReserved || stock == stockSold && parcel != parcelLost {
			f.wrong(i6, o, nil, "it is %s, but its stock is %s and its parcel %s", status, stock, shown(parcel))
		}
		if !slices.Contains([]string{"", parcelStopped, parcelReturned, parcelLost}, parcel) {
			f.wrong(i6, o, nil, "it is %s, but its parcel is %s", status, parcel)
		}
	}
}
