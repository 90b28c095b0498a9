package payment_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/payment"
)

// Every state that is not final waits for something, so that nothing is ever
// stuck; every final one waits for nothing.
func TestDue(t *testing.T) {
	policy := payment.Policy{Deadline: 30 * time.Second}
	deadline := event.Wait{Step: event.DeadlineStep, After: 30 * time.Second}
	want := map[payment.Status][]event.Wait{
		"":                         nil,
		payment.StatusCharging:     {{Step: "charge"}, deadline},
		payment.StatusPending:      {{Step: "ask", After: 2 * time.Second}, deadline},
		payment.StatusVoiding:      {{Step: "void"}},
		payment.StatusRefunding:    {{Step: "refund"}},
		payment.StatusSucceeded:    nil,
		payment.StatusFailed:       nil,
		payment.StatusRefunded:     nil,
		payment.StatusRefundFailed: nil,
	}
	for status, waits := range want {
		if diff := cmp.Diff(waits, policy.Due(&payment.Payment{Status: status})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", status, diff)
		}
	}
}

func TestARetriedRefundHasItsOwnKey(t *testing.T) {
	r := reach(t, "second refund after success")
	gateway := &scripted{result: payment.Result{Outcome: payment.Refunded}}
	if _, err := service(r, gateway).Perform(t.Context(), r.load(), "refund-2", 1); err != nil {
		t.Fatal(err)
	}
	if got, want := gateway.last.Key(), string(orderID)+"/refund-2"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	if got, want := gateway.last.ChargeKey(), string(orderID)+"/charge"; got != want {
		t.Errorf("charge key %q, want %q", got, want)
	}
}

// down is an error that knows when to come back, as the circuit breaker's does.
type down struct{ error }

func (down) RetryAfter() time.Duration { return time.Minute }

// A call without a usable answer changes nothing, and the executor can still read
// from the error when to try again.
func TestNoAnswerIsAnError(t *testing.T) {
	tests := []struct {
		state, step string
		gateway     scripted
		want        string
	}{
		{"charging", payment.StepCharge, scripted{err: down{errors.New("connection refused")}}, "connection refused"},
		{"charging", payment.StepCharge, scripted{result: payment.Result{Outcome: payment.Voided}}, "no answer"},
		{"charging", payment.StepCharge, scripted{result: payment.Result{}}, "no answer"},
		{"pending", payment.StepAsk, scripted{result: payment.Result{Outcome: payment.Pended}}, payment.ErrStillPending.Error()},
		{"voiding for the cancel", payment.StepVoid, scripted{result: payment.Result{Outcome: payment.Pended}}, "no answer"},
		{"refunding after success", payment.StepRefund, scripted{result: payment.Result{Outcome: payment.Captured}}, "no answer"},
		// The money stays where it is when a call comes that the row does not wait for.
		{"succeeded", payment.StepRefund, scripted{result: payment.Result{Outcome: payment.Refunded}}, "does not wait"},
		{"refunding after success", "refund-2", scripted{result: payment.Result{Outcome: payment.Refunded}}, "does not wait"},
		{"failed: cancelled", payment.StepCharge, scripted{result: payment.Result{Outcome: payment.Captured}}, "does not wait"},
	}
	for _, tt := range tests {
		r := reach(t, tt.state)
		change, err := service(r, &tt.gateway).Perform(t.Context(), r.load(), tt.step, 3)
		if change != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: change %t, error %v, want one with %q", tt.state, tt.step, change != nil, err, tt.want)
		}
		var later interface{ RetryAfter() time.Duration }
		if _, known := tt.gateway.err.(down); known && !errors.As(err, &later) {
			t.Errorf("%s, %s: %v has lost when to come back", tt.state, tt.step, err)
		}
	}
}

func TestWhatTheProviderSaysIsKept(t *testing.T) {
	r := reach(t, "charging")
	gateway := &scripted{result: payment.Result{
		Outcome: payment.Declined, ProviderRef: "ch_1",
		Message: "card\x00 expired \xff" + strings.Repeat("é", 300),
	}}
	change, err := service(r, gateway).Perform(t.Context(), r.load(), payment.StepCharge, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.answer(r.cause(), payment.StepCharge, change); err != nil {
		t.Fatal(err)
	}
	row := r.load()
	if row.Attempts != 4 || row.ProviderRef != "ch_1" {
		t.Errorf("attempts %d, ref %q, want 4, ch_1", row.Attempts, row.ProviderRef)
	}
	if len(row.Message) > 500 || !strings.HasPrefix(row.Message, "card expired \uFFFDé") || strings.HasSuffix(row.Message, "\uFFFD") {
		t.Errorf("message of %d bytes: %q", len(row.Message), row.Message)
	}
}

func TestShown(t *testing.T) {
	tests := []struct {
		stored payment.Status
		tries  int
		want   payment.Status
	}{
		{payment.StatusCharging, 0, payment.StatusInitiated},
		{payment.StatusCharging, 1, payment.StatusCharging},
		{payment.StatusCharging, 2, payment.StatusUnknown},
		{payment.StatusVoiding, 2, payment.StatusVoiding},
		{payment.StatusSucceeded, 0, payment.StatusSucceeded},
	}
	for _, tt := range tests {
		if got := (payment.View{Payment: payment.Payment{Status: tt.stored}, Tries: tt.tries}).Shown(); got != tt.want {
			t.Errorf("%s after %d tries is shown as %s, want %s", tt.stored, tt.tries, got, tt.want)
		}
	}
}

func TestCalls(t *testing.T) {
	answered := payment.Payment{Attempts: 3}
	if got := (payment.View{Payment: answered}).Calls(); got != 3 {
		t.Errorf("%d calls, want the 3 that the last answer took", got)
	}
	if got := (payment.View{Payment: answered, Tries: 1}).Calls(); got != 1 {
		t.Errorf("%d calls, want the 1 of the step under way", got)
	}
}

// An event that cannot be charged for goes to the dead letters, not round and round.
func TestBadInputIsRefusedForGood(t *testing.T) {
	negative, nameless := initiated, initiated
	negative.Total.Amount = -1
	nameless.Total.Currency = ""
	for _, e := range []event.PaymentInitiated{negative, nameless} {
		r := &rows{}
		err := service(r, nil).Initiate(r.cause(), e)
		var permanent interface{ Permanent() bool }
		if !errors.As(err, &permanent) || !permanent.Permanent() || r.row != nil {
			t.Errorf("%+v: %v, row %v; want a permanent error and no row", e.Total, err, r.row)
		}
	}
	r := reach(t, "pending")
	if err := service(r, nil).Callback(r.cause(), payment.Callback{OrderID: orderID, Outcome: "perhaps"}); err == nil {
		t.Error("a callback that says perhaps was taken")
	}
	if err := service(r, nil).Resolve(r.cause(), orderID, "shrug", ""); !errors.Is(err, payment.ErrUnknownAction) {
		t.Errorf("action shrug: %v, want ErrUnknownAction", err)
	}
}
