package demo

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"millrace/event"
)

const (
	// groupSize is how many orders share a customer id, and so are seen in one answer. A page
	// holds maxPage, four times as many: room to notice orders that nobody placed.
	groupSize = 50
	maxPage   = 200
	// few is up to how many open orders of a group are cheaper to look at one by one.
	few = 4
	// firstLook and rarestLook bound how long a group is left alone. It grows with the time without
	// news: an order that waits half a minute for its deadline need not be asked about ten times a second.
	firstLook  = 250 * time.Millisecond
	rarestLook = 2 * time.Second
)

// watch looks at a group of orders until all have ended or been given up.
func (r *run) watch(ctx context.Context, group []*order) {
	for pause := firstLook; sleep(ctx, pause); {
		var open []*order
		done := 0
		for _, o := range group {
			switch isDone, isOpen := o.stands(); {
			case isDone:
				done++
			case isOpen:
				open = append(open, o)
			}
		}
		if done == len(group) {
			return
		}
		if r.look(ctx, open) {
			pause = firstLook
		} else {
			pause = min(pause+pause/2, rarestLook)
		}
	}
}

// stands says whether nothing is expected of the order any more, and whether it is worth a look.
func (o *order) stands() (done, open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done, o.id != ""
}

// look learns how open orders of one group stand, and says whether any of them moved on.
func (r *run) look(ctx context.Context, open []*order) (moved bool) {
	if len(open) <= few {
		for _, o := range open {
			moved = r.lookAt(ctx, o) || moved
		}
		return moved
	}
	found, err := r.ofCustomer(ctx, open[0].customer)
	if err != nil { // as in lookAt
		return false
	}
	for _, o := range open {
		if s, ok := found[o.id]; ok {
			moved = o.learn(s) || moved
		}
	}
	return moved
}

// lookAt asks about one order. A look that fails is no failure of the order's: another one
// follows, and the order's time is bounded.
func (r *run) lookAt(ctx context.Context, o *order) (moved bool) {
	var s statusBody
	return r.read(ctx, "/orders/"+string(o.id)+"/status", &s) == nil && o.learn(s)
}

// ofCustomer lists all orders of a customer.
func (r *run) ofCustomer(ctx context.Context, customer string) (map[event.OrderID]statusBody, error) {
	found := map[event.OrderID]statusBody{}
	for cursor := ""; ; {
		var page ordersBody
		path := fmt.Sprintf("/orders?limit=%d&customerId=%s", maxPage, url.QueryEscape(customer))
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := r.read(ctx, path, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Orders {
			found[s.OrderID] = s
		}
		if cursor = page.NextCursor; cursor == "" {
			return found, nil
		}
	}
}

// read is a GET that waits its turn.
func (r *run) read(ctx context.Context, path string, answer any) error {
	if !acquire(ctx, r.reading) {
		return context.Cause(ctx)
	}
	defer func() { <-r.reading }()
	return r.client.get(ctx, path, answer)
}
