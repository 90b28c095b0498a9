package paymenthttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/handlers/payment/paymenthttp"
	"millrace/httpapi"
	"millrace/httpapi/auth"
	"millrace/signature"
)

const (
	known   event.OrderID = "0199c0de-0000-7000-8000-000000000001"
	unknown event.OrderID = "0199c0de-0000-7000-8000-000000000002"
)

var secret = []byte("shared with the provider")

// book keeps one payment in memory, for the service and for the reads.
type book struct {
	view      payment.View
	processed map[string]bool
	causes    []event.Cause
	said      int
}

func (b *book) Update(ctx context.Context, _ event.OrderID, change func(*payment.Payment) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx)
	if b.processed[cause.ID] {
		return nil
	}
	row := b.view.Payment
	events, err := change(&row)
	if err != nil {
		return err
	}
	b.view.Payment, b.processed[cause.ID] = row, true
	b.said += len(events)
	b.causes = append(b.causes, cause)
	return nil
}

func (b *book) UpdateExisting(ctx context.Context, id event.OrderID, change func(*payment.Payment) ([]event.Event, error)) error {
	if id != known {
		return event.ErrUnknownOrder
	}
	return b.Update(ctx, id, change)
}

func (b *book) Payment(_ context.Context, id event.OrderID) (payment.View, error) {
	if id != known {
		return payment.View{}, fmt.Errorf("read: %w", event.ErrUnknownOrder)
	}
	return b.view, nil
}

// open is the API on one payment in the given state.
func open(p payment.Payment) (*book, http.Handler) { return openTo(nil, p) }

// openTo is open, for these callers only.
func openTo(callers auth.Authenticator, p payment.Payment) (*book, http.Handler) {
	p.ID, p.Total = known, event.Money{Amount: 2500, Currency: "EUR"}
	b := &book{view: payment.View{Payment: p}, processed: map[string]bool{}}
	api := httpapi.New(httpapi.Config{Auth: callers, Logger: slog.New(slog.DiscardHandler)})
	paymenthttp.Register(api.Huma, payment.NewService(b, nil), b, secret)
	return b, api
}

func send(t *testing.T, h http.Handler, method, path, body string, header http.Header) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if header != nil {
		r.Header = header
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return w.Code, fields
}

func TestShow(t *testing.T) {
	_, h := open(payment.Payment{
		Status: payment.StatusRefundFailed, Attempts: 3, ProviderRef: "ch_1",
		Reason: event.FailedCancelled, Message: "the order was cancelled",
		Refund: payment.Refund{Number: 2, Message: "no", Note: "again"},
	})
	code, got := send(t, h, http.MethodGet, "/payments/"+string(known), "", nil)
	want := map[string]any{
		"orderId": string(known), "status": "REFUND_FAILED", "amount": 2500.0, "currency": "EUR",
		"attempts": 3.0, "providerRef": "ch_1", "reason": "CANCELLED", "message": "the order was cancelled",
		"refund": map[string]any{"number": 2.0, "message": "no", "note": "again"},
	}
	if diff := cmp.Diff(want, got); code != http.StatusOK || diff != "" {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	for _, id := range []string{string(unknown), "42", strings.ToUpper("0199c0de-0000-7000-8000-00000000000a")} {
		if code, _ := send(t, h, http.MethodGet, "/payments/"+id, "", nil); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", id, code)
		}
	}
}

func callback(id event.OrderID, eventID, status string) string {
	return fmt.Sprintf(`{"orderId":%q,"eventId":%q,"status":%q,"providerRef":"ch_1"}`, id, eventID, status)
}

func sign(body string, at time.Time) http.Header {
	return http.Header{signature.Header: {signature.Sign(secret, []byte(body), at)}}
}

func TestCallback(t *testing.T) {
	good := callback(known, "ev_1", "captured")
	tests := []struct {
		name, body string
		header     http.Header
		code       int
		status     payment.Status
	}{
		{"captured", good, sign(good, time.Now()), 204, payment.StatusSucceeded},
		{"declined", callback(known, "ev_1", "declined"), nil, 204, payment.StatusFailed},
		{"unknown order", callback(unknown, "ev_1", "captured"), nil, 404, payment.StatusPending},
		{"no order id", callback("42", "ev_1", "captured"), nil, 404, payment.StatusPending},
		{"a status that is none", callback(known, "ev_1", "perhaps"), nil, 422, payment.StatusPending},
		{"no event id", callback(known, "", "captured"), nil, 422, payment.StatusPending},
		{"an unknown field", strings.Replace(good, "{", `{"extra":1,`, 1), nil, 422, payment.StatusPending},
		{"no signature", good, http.Header{}, 401, payment.StatusPending},
		{"another body's signature", good, sign("{}", time.Now()), 401, payment.StatusPending},
		{"too old", good, sign(good, time.Now().Add(-signature.Window-time.Minute)), 401, payment.StatusPending},
		{"unsigned and wrong: nothing about the fields", `{"orderId":1}`, http.Header{}, 401, payment.StatusPending},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, h := open(payment.Payment{Status: payment.StatusPending})
			if tt.header == nil {
				tt.header = sign(tt.body, time.Now())
			}
			code, body := send(t, h, http.MethodPost, "/payments/callback", tt.body, tt.header)
			if code != tt.code || b.view.Status != tt.status {
				t.Errorf("%d %v, payment %s; want %d, %s", code, body, b.view.Status, tt.code, tt.status)
			}
			if code == http.StatusUnauthorized && body["errors"] != nil {
				t.Errorf("a stranger learns %v", body["errors"])
			}
		})
	}
}

// Providers send the same event until they are sure: it counts once, and belongs to
// the order's own story, not to one of its own.
func TestADoubledCallbackIsOneCommand(t *testing.T) {
	b, h := open(payment.Payment{Status: payment.StatusPending})
	body := callback(known, "ev_1", "captured")
	for range 2 {
		header := sign(body, time.Now())
		header.Set(httpapi.CorrelationIDHeader, "the provider's own")
		if code, _ := send(t, h, http.MethodPost, "/payments/callback", body, header); code != http.StatusNoContent {
			t.Fatalf("%d, want 204", code)
		}
	}
	if len(b.causes) != 1 || b.said != 3 {
		t.Errorf("%d commands, %d events; want 1 and 3", len(b.causes), b.said)
	}
	if c := b.causes[0]; c.CorrelationID != "" || !c.Command || c.ID == "" {
		t.Errorf("cause %+v, want a command without a correlation id of its own", c)
	}
	other := callback(known, "ev_2", "captured")
	send(t, h, http.MethodPost, "/payments/callback", other, sign(other, time.Now()))
	if len(b.causes) != 2 || b.said != 3 {
		t.Errorf("another event: %d commands, %d events; want 2 and still 3", len(b.causes), b.said)
	}
}

func TestWithoutASecretEveryCallbackIsRefused(t *testing.T) {
	api := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	b := &book{}
	paymenthttp.Register(api.Huma, payment.NewService(b, nil), b, nil)
	body := callback(known, "ev_1", "captured")
	header := http.Header{signature.Header: {signature.Sign(nil, []byte(body), time.Now())}}
	if code, _ := send(t, api, http.MethodPost, "/payments/callback", body, header); code != http.StatusUnauthorized {
		t.Errorf("%d, want 401", code)
	}
}

func TestResolve(t *testing.T) {
	refused := payment.Payment{Status: payment.StatusRefundFailed, Refund: payment.Refund{Number: 1, Message: "no"}}
	tests := []struct {
		name, path, body string
		row              payment.Payment
		code             int
		want             string
	}{
		{"retry", string(known), `{"action":"retry","note":"new card"}`, refused, 202, "REFUNDING"},
		{"settled", string(known), `{"action":"settled","note":"by transfer"}`, refused, 202, "REFUNDED"},
		{"nothing refused", string(known), `{"action":"retry","note":"x"}`, payment.Payment{Status: payment.StatusSucceeded}, 409, ""},
		{"unknown order", string(unknown), `{"action":"retry","note":"x"}`, refused, 404, ""},
		{"no action", string(known), `{"note":"x"}`, refused, 422, ""},
		{"another action", string(known), `{"action":"burn","note":"x"}`, refused, 422, ""},
		{"no note", string(known), `{"action":"retry"}`, refused, 422, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, h := open(tt.row)
			code, got := send(t, h, http.MethodPost, "/payments/"+tt.path+"/refund", tt.body, nil)
			if code != tt.code {
				t.Fatalf("%d %v, want %d", code, got, tt.code)
			}
			if tt.want != "" && (got["status"] != tt.want || b.view.Refund.Note == "") {
				t.Errorf("answered %v, note %q; want %s and the note kept", got, b.view.Refund.Note, tt.want)
			}
		})
	}
}

// callers presents itself by the name of its only scope.
type callers struct{}

func (callers) Authenticate(credential string) (auth.Identity, error) {
	return auth.Identity{Name: credential, Scopes: []string{credential}}, nil
}

func TestScopes(t *testing.T) {
	look, resolve := "GET /payments/"+string(known), "POST /payments/"+string(known)+"/refund"
	tests := []struct {
		route, caller string
		code          int
	}{
		{look, "", 401}, {look, "shop", 200}, {look, "operator", 200}, {look, "stranger", 403},
		{resolve, "", 401}, {resolve, "shop", 403}, {resolve, "operator", 409},
		// Signed, so that no other credential is asked for.
		{"POST /payments/callback", "", 204},
	}
	for _, tt := range tests {
		_, h := openTo(callers{}, payment.Payment{Status: payment.StatusPending})
		method, path, _ := strings.Cut(tt.route, " ")
		header, body := http.Header{}, ""
		switch {
		case strings.HasSuffix(path, "/refund"):
			body = `{"action":"retry","note":"x"}`
		case strings.HasSuffix(path, "/callback"):
			body = callback(known, "ev_1", "declined")
			header = sign(body, time.Now())
		}
		if tt.caller != "" {
			header.Set("X-API-Key", tt.caller)
		}
		if code, got := send(t, h, method, path, body, header); code != tt.code {
			t.Errorf("%s as %q: %d %v, want %d", tt.route, tt.caller, code, got["detail"], tt.code)
		}
	}
}
