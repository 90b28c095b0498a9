package verify

import "fmt"

// checkAccepted is I1: whoever was told that an order is accepted finds it. What clients were told is
// known where they kept it; else what was said of an order, or what the others know of it, speaks for it.
func checkAccepted(o *order, l *look, f *findings) {
	for _, r := range o.Rows {
		if r != nil && r.Unreadable != "" {
			f.wrong(i1, o, nil, "its row at %s is not readable: %s", r.Service, r.Unreadable)
		}
	}
	if !l.has(orders) {
		return
	}
	if o.placed() {
		f.checked(i1, 1)
		return
	}
	if r := o.Rows[orders]; r != nil && r.Unreadable != "" {
		return // that has been said
	}
	if reason, records := o.speaksFor(l, f); reason != "" {
		f.checked(i1, 1)
		f.wrong(i1, o, records, "%s, and there is no such order", reason)
	}
}

// speaksFor is why there should be an order that the order service does not have.
func (o *order) speaksFor(l *look, f *findings) (reason string, records []string) {
	if o.Accepted {
		return "a client was told that it is accepted", nil
	}
	for _, r := range o.events {
		if r.Kind == orderCreated && r.ours() && !l.afterwards(orders, r.At) {
			return "its OrderCreated was said", places(r)
		}
	}
	if o.foreign(everyone...) { // a stranger's order, and what came of it: the order service need not have it
		f.exempt(i1)
		return "", nil
	}
	for s, r := range o.Rows {
		if r != nil && service(s) != orders && r.Version > 0 && !l.afterwards(orders, r.Created) {
			return fmt.Sprintf("%s has a row of it", r.Service), nil
		}
	}
	return "", nil
}
