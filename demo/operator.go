package demo

import (
	"context"
	"fmt"
	"net/http"

	"millrace/event"
)

// What an operator resolves.
const parcelNotRecalled = "RECALL_FAILED"

// resolve does the operator's part for a cancelled order that needs attention, if the caller may:
// refunds that were refused are settled in another way, parcels past recall have come back after
// all. An order may need both, one after the other; and any may be past recall whose
// parcel was faster than its cancellation.
func (r *run) resolve(ctx context.Context, o *order) error {
	for {
		if status, _ := o.now(); status != event.OrderNeedsAttention {
			return nil
		}
		var p paymentBody
		var s shipmentBody
		// What cannot be read now may be in the next round.
		if r.read(ctx, "/payments/"+string(o.id), &p) == nil && p.Status == paymentRefundFailed {
			if err := r.post(ctx, o, "/payments/"+string(o.id)+"/refund", "settled"); err != nil {
				return err
			}
		}
		if r.read(ctx, "/shipments/"+string(o.id), &s) == nil && s.Status == parcelNotRecalled {
			if err := r.post(ctx, o, "/shipments/"+string(o.id)+"/resolve", "returned"); err != nil {
				return err
			}
		}
		if o.notOperator { // set by this goroutine
			return nil
		}
		if !sleep(ctx, firstLook) {
			return fmt.Errorf("wait for what the operator did: %w", context.Cause(ctx))
		}
		r.lookAt(ctx, o)
	}
}

// post says what the operator decided.
func (r *run) post(ctx context.Context, o *order, path, action string) error {
	err := r.client.persist(ctx, http.MethodPost, path, "", resolveBody{Action: action, Note: "router demo, run " + r.id}, nil)
	switch statusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden:
		o.set(func() { o.notOperator = true })
		return nil
	case http.StatusConflict: // done before, and the answer was lost
		err = nil
	}
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	o.set(func() { o.resolved = true })
	return nil
}
