package shipping_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/shipping"
)

// perform makes the call a row waits for and brings the answer back, as the executor does.
func perform(t testing.TB, d *desk, s *shipping.Service, attempt int) error {
	t.Helper()
	row := d.rows[order1]
	due := policy.Due(&row)
	if len(due) != 1 {
		t.Fatalf("%s waits for %v", rowName(row), due)
	}
	cause := fmt.Sprintf("%s/%s/%d", order1, due[0].Step, attempt)
	change, err := s.Perform(on(t, cause), row, due[0].Step, attempt)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(d.rows[order1], row); diff != "" {
		t.Errorf("Perform changed its snapshot:\n%s", diff)
	}
	return d.UpdateExisting(on(t, cause), order1, change)
}

func initiated(t testing.TB, c shipping.Carrier, to *event.Address) (*desk, *shipping.Service) {
	t.Helper()
	d := newDesk()
	s := shipping.New(d, c, policy)
	if err := s.Initiate(on(t, "initiate"), event.ShippingInitiate{OrderID: order1, ShippingAddress: to}); err != nil {
		t.Fatal(err)
	}
	return d, s
}

func TestParcelIsDelivered(t *testing.T) {
	c := &carrier{}
	d, s := initiated(t, c, address)
	for _, step := range []struct {
		report shipping.State
		call   string
		key    string
		next   []event.Wait
	}{
		{shipping.Booked, "Book", "/book", []event.Wait{{Step: "track-shipped", After: policy.Step}}},
		{shipping.InTransit, "Track", "/track-shipped", []event.Wait{{Step: "track-delivered", After: policy.Step}}},
		{shipping.Delivered, "Track", "/track-delivered", nil},
	} {
		c.report = shipping.Report{State: step.report, Carrier: "Mill Post", TrackingNumber: "MP1"}
		if err := perform(t, d, s, 1); err != nil {
			t.Fatal(err)
		}
		if c.call != step.call || c.parcel.Key != string(order1)+step.key || c.parcel.Address != *address {
			t.Errorf("called %s with %+v, want %s with key …%s", c.call, c.parcel, step.call, step.key)
		}
		row := d.rows[order1]
		if diff := cmp.Diff(step.next, policy.Due(&row)); diff != "" {
			t.Errorf("after %s waits for:\n%s", step.report, diff)
		}
	}
	want := []event.Event{
		event.ShippingStatus{OrderID: order1, Status: event.ParcelPreparing},
		event.ShippingStatus{OrderID: order1, Status: event.ParcelShipped, Carrier: "Mill Post", TrackingNumber: "MP1"},
		event.ShippingStatus{OrderID: order1, Status: event.ParcelDelivered, Carrier: "Mill Post", TrackingNumber: "MP1"},
	}
	if diff := cmp.Diff(want, d.said); diff != "" {
		t.Error(diff)
	}
	if !c.parcel.BookedAt.Equal(noon) || c.parcel.TrackingNumber != "MP1" {
		t.Errorf("the carrier is not told what it said before: %+v", c.parcel)
	}
}

// TestCarrierIsAskedAgain: no answer, and no news, change nothing; news is asked for
// at the pace of parcels.
func TestCarrierIsAskedAgain(t *testing.T) {
	c := &carrier{err: errors.New("connection refused")}
	d, s := initiated(t, c, address)
	before := d.rows[order1]
	if err := perform(t, d, s, 1); !errors.Is(err, c.err) {
		t.Errorf("got %v", err)
	}
	for _, state := range []shipping.State{shipping.Stopped, shipping.NotRecalled, "", "NEWS"} {
		c.err, c.report = nil, shipping.Report{State: state}
		var wait interface{ RetryAfter() time.Duration }
		if err := perform(t, d, s, 2); !errors.As(err, &wait) || wait.RetryAfter() != policy.Step {
			t.Errorf("%q on booking: got %v", state, err)
		}
	}
	if diff := cmp.Diff(before, d.rows[order1]); diff != "" {
		t.Error(diff)
	}
}

// TestCollectedInTheShop: without an address no carrier hears of the order, and every
// way it can go is open to it.
func TestCollectedInTheShop(t *testing.T) {
	for name, c := range map[string]struct {
		cancelAfter int // calls before the cancel; -1: none
		want        string
	}{
		"collected":           {-1, "PREPARING SHIPPED DELIVERED"},
		"cancelled at once":   {0, "PREPARING STOPPED"},
		"cancelled in time":   {1, "PREPARING STOPPED"},
		"cancelled when out":  {2, "PREPARING SHIPPED RETURNED"},
		"cancelled afterward": {3, "PREPARING SHIPPED DELIVERED RECALL_FAILED"},
	} {
		carrier := &carrier{}
		d, s := initiated(t, carrier, nil)
		for calls := 0; ; calls++ {
			if calls == c.cancelAfter {
				if err := s.Cancel(on(t, "cancel"), event.OrderCancelled{OrderID: order1}); err != nil {
					t.Fatal(err)
				}
			}
			row := d.rows[order1]
			if len(policy.Due(&row)) == 0 {
				break
			}
			if err := perform(t, d, s, 1); err != nil {
				t.Fatal(err)
			}
		}
		if got := words(d.statuses()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if carrier.call != "" {
			t.Errorf("%s: the carrier was called: %s", name, carrier.call)
		}
	}
}

func TestUnknownStep(t *testing.T) {
	for _, to := range []*event.Address{address, nil} {
		d, s := initiated(t, &carrier{}, to)
		if _, err := s.Perform(on(t, "1"), d.rows[order1], "fly", 1); err == nil || !strings.Contains(err.Error(), `"fly"`) {
			t.Errorf("got %v", err)
		}
	}
}

// TestEarlyCancelLeavesATombstone: it answers at once, and a later ShippingInitiate
// says nothing and calls nobody.
func TestEarlyCancelLeavesATombstone(t *testing.T) {
	d := newDesk()
	s := shipping.New(d, &carrier{}, policy)
	if err := s.Cancel(on(t, "1"), event.OrderCancelled{OrderID: order1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Initiate(on(t, "2"), event.ShippingInitiate{OrderID: order1, ShippingAddress: address}); err != nil {
		t.Fatal(err)
	}
	row := d.rows[order1]
	if words(d.statuses()) != "STOPPED" || row.Status != event.ParcelStopped || len(policy.Due(&row)) > 0 {
		t.Errorf("said %v, row %+v", d.statuses(), row)
	}
}

func TestHistoryAndTheOperatorsNote(t *testing.T) {
	c := &carrier{}
	d, s := initiated(t, c, address)
	for _, state := range []shipping.State{shipping.InTransit, shipping.Delivered} {
		if err := s.Callback(on(t, string(state)), order1, shipping.Report{State: state, Carrier: "Mill Post", TrackingNumber: "MP1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Cancel(on(t, "cancel"), event.OrderCancelled{OrderID: order1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Resolve(on(t, "resolve"), order1, shipping.ResolveReturned, "brought in by hand"); err != nil {
		t.Fatal(err)
	}
	want := []shipping.Entry{
		{Status: event.ParcelPreparing, At: noon},
		{Status: event.ParcelShipped, At: noon},
		{Status: event.ParcelDelivered, At: noon},
		{Status: event.ParcelRecallFailed, At: noon},
		{Status: event.ParcelReturned, At: noon, Note: "brought in by hand"},
	}
	if diff := cmp.Diff(want, d.rows[order1].History); diff != "" {
		t.Error(diff)
	}
}

func TestResolveRefuses(t *testing.T) {
	d, s := initiated(t, &carrier{}, address)
	if err := s.Resolve(on(t, "1"), order1, "shrug", ""); !errors.Is(err, shipping.ErrNotAResolution) {
		t.Errorf("got %v", err)
	}
	if err := s.Resolve(on(t, "1"), order1, shipping.ResolveReturned, strings.Repeat("n", shipping.MaxNote+1)); !errors.Is(err, shipping.ErrNoteTooLong) {
		t.Errorf("got %v", err)
	}
	const nobody = event.OrderID("0199c0de-0000-7000-8000-000000000099")
	if err := s.Resolve(on(t, "1"), nobody, shipping.ResolveReturned, ""); !errors.Is(err, event.ErrUnknownOrder) || len(d.rows) != 1 {
		t.Errorf("got %v, rows %v", err, d.rows)
	}
}

// TestDoubledCallbackChangesNothing: a carrier sends a callback again until it is answered.
func TestDoubledCallbackChangesNothing(t *testing.T) {
	d, s := initiated(t, &carrier{}, address)
	for range 2 {
		if err := s.Callback(on(t, "callback-1"), order1, shipping.Report{State: shipping.InTransit}); err != nil {
			t.Fatal(err)
		}
	}
	if got := words(d.statuses()); got != "PREPARING SHIPPED" {
		t.Errorf("said %s", got)
	}
	var stale *shipping.StaleReport
	err := s.Callback(on(t, "callback-2"), order1, shipping.Report{State: shipping.InTransit})
	if !errors.As(err, &stale) || stale.Status != event.ParcelShipped {
		t.Errorf("got %v", err)
	}
}

// TestWithoutACauseTheClockIsUsed: an answer always has a time.
func TestWithoutACauseTheClockIsUsed(t *testing.T) {
	d, s := initiated(t, &carrier{report: shipping.Report{State: shipping.Booked}}, address)
	before := time.Now()
	change, err := s.Perform(context.Background(), d.rows[order1], "book", 1)
	if err != nil {
		t.Fatal(err)
	}
	row := d.rows[order1]
	if _, err := change(&row); err != nil {
		t.Fatal(err)
	}
	if row.BookedAt.Before(before) {
		t.Errorf("booked at %v, before %v", row.BookedAt, before)
	}
}

// TestParcelIsStoppedOrCalledBack: a cancel asks the carrier, with a key of its own,
// and is settled by its answer alone.
func TestParcelIsStoppedOrCalledBack(t *testing.T) {
	c := &carrier{}
	d, s := initiated(t, c, address)
	if err := s.Cancel(on(t, "cancel"), event.OrderCancelled{OrderID: order1}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		report    shipping.State
		call, key string
		said      string
	}{
		{shipping.InTransit, "Stop", "/stop", "PREPARING SHIPPED"},
		{shipping.NotRecalled, "Recall", "/recall", "PREPARING SHIPPED RECALL_FAILED"},
	} {
		c.report = shipping.Report{State: step.report}
		if err := perform(t, d, s, 1); err != nil {
			t.Fatal(err)
		}
		if c.call != step.call || c.parcel.Key != string(order1)+step.key {
			t.Errorf("called %s with key %s, want %s with …%s", c.call, c.parcel.Key, step.call, step.key)
		}
		if got := words(d.statuses()); got != step.said {
			t.Errorf("said %s, want %s", got, step.said)
		}
	}
}

// TestCopiesOfARowShareNothing: what one copy records is not seen in another.
func TestCopiesOfARowShareNothing(t *testing.T) {
	row := shipping.Shipment{ID: order1, Status: event.ParcelRecallFailed, Cancelled: true}
	row.History = append(make([]shipping.Entry, 0, 8), shipping.Entry{Status: event.ParcelRecallFailed, At: noon})
	one, other := newDesk(row), newDesk(row)
	for d, as := range map[*desk]shipping.Resolution{one: shipping.ResolveReturned, other: shipping.ResolveWrittenOff} {
		if err := shipping.New(d, &carrier{}, policy).Resolve(on(t, "1"), order1, as, ""); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := one.rows[order1].History[1].Status, other.rows[order1].History[1].Status; a == b {
		t.Errorf("both copies recorded %s", a)
	}
}
