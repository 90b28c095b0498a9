package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"millrace/handlers/payment/simulator"
	"millrace/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = []byte("shared with the shop")

// shop receives callbacks whose signature is right.
func shop(t *testing.T) (url string, received <-chan map[string]string) {
	t.Helper()
	const plenty = 10
	ch := make(chan map[string]string, plenty)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = signature.Verify(secret, body, r.Header.Get(signature.Header), time.Now())
		}
		var fields map[string]string
		if err == nil {
			err = json.Unmarshal(body, &fields)
		}
		if err != nil {
			t.Errorf("callback: %v", err)
		}
		ch <- fields
	}))
	t.Cleanup(server.Close)
	return server.URL, ch
}

// run runs the provider until stop, or the end of the test; no request is in
// flight after that.
func run(t *testing.T, p *simulator.Provider) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

const (
	soon = 10 * time.Millisecond
	// patience is how long a test waits for what must come.
	patience = 10 * time.Second
)

func TestCallsBack(t *testing.T) {
	for method, status := range map[string]string{
		simulator.PendingAccepted: "captured",
		simulator.PendingDeclined: "declined",
	} {
		t.Run(method, func(t *testing.T) {
			url, received := shop(t)
			ledger := simulator.NewMemory()
			p := simulator.New(ledger, simulator.Config{Delay: soon, CallbackURL: url, Secret: secret})
			run(t, p)
			charged, err := p.Charge(t.Context(), request("charge", method))
			if err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-received:
				if got["eventId"] == "" {
					t.Error("the callback has no id")
				}
				delete(got, "eventId")
				want := map[string]string{"orderId": string(orderID), "status": status, "providerRef": charged.ProviderRef}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("callback (-want +got):\n%s", diff)
				}
			case <-time.After(patience):
				t.Fatal("no callback")
			}
		})
	}
}

// A voided charge is over: nobody hears of it again. The one after it in the queue
// is told of all the same.
func TestNoCallbackAfterVoid(t *testing.T) {
	url, received := shop(t)
	p := simulator.New(simulator.NewMemory(), simulator.Config{Delay: soon, CallbackURL: url, Secret: secret})
	first, second := request("charge", simulator.PendingAccepted), request("charge", simulator.PendingAccepted)
	second.OrderID = "0199c0de-0000-7000-8000-000000000002"
	if _, err := p.Charge(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if got := say(p.Void(t.Context(), first)); got != "voided" {
		t.Fatalf("void: %s", got)
	}
	if _, err := p.Charge(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	stop := run(t, p) // only now, so that the void comes before the callback
	select {
	case got := <-received:
		if got["orderId"] != string(second.OrderID) {
			t.Errorf("called back about %s, which was voided", got["orderId"])
		}
	case <-time.After(patience):
		t.Fatal("no callback for the second order")
	}
	stop()
	if len(received) > 0 {
		t.Errorf("one callback too many: %v", <-received)
	}
}
