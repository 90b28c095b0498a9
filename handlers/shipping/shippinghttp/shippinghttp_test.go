package shippinghttp_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippinghttp"
	"millrace/httpapi"
	"millrace/httpapi/auth"
	"millrace/signature"
)

const (
	order1 = event.OrderID("0199c0de-0000-7000-8000-000000000001")
	nobody = event.OrderID("0199c0de-0000-7000-8000-000000000002")
)

var (
	secret = []byte("carrier's and ours")
	noon   = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
)

// desk keeps shipments in memory, for the service and for the reads.
type desk struct {
	rows      map[event.OrderID]shipping.Shipment
	processed map[string]bool
	causes    []event.Cause
}

func (d *desk) Update(ctx context.Context, id event.OrderID, change func(*shipping.Shipment) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx)
	d.causes = append(d.causes, cause)
	if d.processed[cause.ID] {
		return nil
	}
	row := d.rows[id]
	row.ID = id
	if _, err := change(&row); err != nil {
		return err
	}
	d.rows[id], d.processed[cause.ID] = row, true
	return nil
}

func (d *desk) UpdateExisting(ctx context.Context, id event.OrderID, change func(*shipping.Shipment) ([]event.Event, error)) error {
	if _, known := d.rows[id]; !known {
		return event.ErrUnknownOrder
	}
	return d.Update(ctx, id, change)
}

func (d *desk) Shipment(_ context.Context, id event.OrderID) (shipping.Shipment, error) {
	row, known := d.rows[id]
	if !known {
		return row, event.ErrUnknownOrder
	}
	return row, nil
}

// newAPI returns an API with one shipment in the given status.
func newAPI(t *testing.T, status event.ParcelStatus, secret []byte) (*httpapi.API, *desk) {
	t.Helper()
	digest := func(key string) string { d := sha256.Sum256([]byte(key)); return hex.EncodeToString(d[:]) }
	keys, err := auth.ParseKeys("shop:" + digest("k-shop") + ":shop,ops:" + digest("k-ops") + ":operator")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{processed: map[string]bool{}, rows: map[event.OrderID]shipping.Shipment{order1: {
		ID: order1, Status: status, Carrier: "Mill Post", TrackingNumber: "MP1", BookedAt: noon,
		Cancelled: status == event.ParcelRecallFailed, History: []shipping.Entry{{Status: status, At: noon}},
	}}}
	api := httpapi.New(httpapi.Config{Auth: keys, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	shippinghttp.Register(api.Huma, shipping.New(d, nil, shipping.Policy{}), d, secret)
	return api, d
}

func ask(t *testing.T, api *httpapi.API, method, path, body string, headers ...string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s %s: %d %s: %v", method, path, w.Code, w.Body, err)
	}
	return w.Code, answer
}

func path(id event.OrderID, rest string) string { return "/shipments/" + string(id) + rest }

func report(id event.OrderID, eventID, status string) string {
	return fmt.Sprintf(`{"orderId":%q,"eventId":%q,"status":%q}`, id, eventID, status)
}

// callback sends a report as a carrier does.
func callback(t *testing.T, api *httpapi.API, id event.OrderID, body string) (int, map[string]any) {
	t.Helper()
	return ask(t, api, "POST", path(id, "/status"), body, signature.Header, signature.Sign(secret, []byte(body), time.Now()))
}

func TestShow(t *testing.T) {
	api, _ := newAPI(t, event.ParcelShipped, secret)
	code, answer := ask(t, api, "GET", path(order1, ""), "", "X-API-Key", "k-shop")
	want := map[string]any{
		"orderId": string(order1), "status": "SHIPPED", "carrier": "Mill Post", "trackingNumber": "MP1",
		"history": []any{map[string]any{"status": "SHIPPED", "at": "2025-06-01T12:00:00Z"}},
	}
	if diff := cmp.Diff(want, answer); code != 200 || diff != "" {
		t.Errorf("%d\n%s", code, diff)
	}
	for _, unknown := range []event.OrderID{nobody, "42"} {
		if code, answer := ask(t, api, "GET", path(unknown, ""), "", "X-API-Key", "k-shop"); code != 404 {
			t.Errorf("%s: %d %v", unknown, code, answer)
		}
	}
}

func TestCarrierReports(t *testing.T) {
	api, d := newAPI(t, event.ParcelShipped, secret)
	applied := map[string]any{"orderId": string(order1), "status": "DELIVERED", "applied": true}
	for range 2 { // carriers send again until they are answered
		if code, answer := callback(t, api, order1, report(order1, "evt-1", "DELIVERED")); code != 200 || cmp.Diff(applied, answer) != "" {
			t.Errorf("%d %v", code, answer)
		}
	}
	code, answer := callback(t, api, order1, report(order1, "evt-2", "SHIPPED"))
	if code != 200 || answer["applied"] != false || answer["status"] != "DELIVERED" || !strings.Contains(fmt.Sprint(answer["detail"]), "cannot follow DELIVERED") {
		t.Errorf("out of date: %d %v", code, answer)
	}
	if n := len(d.rows[order1].History); n != 2 {
		t.Errorf("%d entries in the history", n)
	}
	for _, c := range d.causes {
		if c.CorrelationID != "" || !c.Command || c.ID == "" || c.Time.IsZero() {
			t.Errorf("the cause %+v is no command under the order's own correlation id", c)
		}
	}
	if len(d.causes) != 3 || d.causes[0].ID != d.causes[1].ID || d.causes[0].ID == d.causes[2].ID {
		t.Errorf("the carrier's event ids do not tell reports apart: %v", d.causes)
	}
}

func TestUnsignedReportsAreRefused(t *testing.T) {
	body := report(order1, "evt-1", "DELIVERED")
	for name, header := range map[string]string{
		"none":      "",
		"garbage":   "t=now",
		"wrong key": signature.Sign([]byte("guess"), []byte(body), time.Now()),
		"old":       signature.Sign(secret, []byte(body), time.Now().Add(-time.Hour)),
		"other":     signature.Sign(secret, []byte(body+" "), time.Now()),
	} {
		api, d := newAPI(t, event.ParcelShipped, secret)
		code, answer := ask(t, api, "POST", path(order1, "/status"), body, signature.Header, header)
		if code != 401 || answer["title"] != "Unauthorized" || len(d.causes) > 0 {
			t.Errorf("%s: %d %v", name, code, answer)
		}
	}
	// Before anything else is said about the body.
	api, _ := newAPI(t, event.ParcelShipped, secret)
	if code, answer := ask(t, api, "POST", path(order1, "/status"), `{"status":"NEWS"}`, "X-API-Key", "k-ops"); code != 401 {
		t.Errorf("%d %v", code, answer)
	}
	// Without a secret nothing can be signed, not even with the empty one.
	api, _ = newAPI(t, event.ParcelShipped, nil)
	if code, answer := ask(t, api, "POST", path(order1, "/status"), body, signature.Header, signature.Sign(nil, []byte(body), time.Now())); code != 401 {
		t.Errorf("%d %v", code, answer)
	}
}

func TestWrongReportsAreRefused(t *testing.T) {
	api, d := newAPI(t, event.ParcelShipped, secret)
	for body, status := range map[string]int{
		report(order1, "", "DELIVERED"):                                                422,
		report(order1, strings.Repeat("e", 129), "DELIVERED"):                          422,
		report(order1, "evt-1", "STOPPED"):                                             422, // not a carrier's to say
		report(order1, "evt-1", ""):                                                    422,
		report(nobody, "evt-1", "DELIVERED"):                                           422, // signed for another order
		`{"orderId":"` + string(order1) + `","eventId":"e","status":"LOST","why":"?"}`: 422,
		`[]`:   422,
		`{"or`: 400,
	} {
		if code, answer := callback(t, api, order1, body); code != status {
			t.Errorf("%s: %d %v, want %d", body, code, answer, status)
		}
	}
	if code, answer := callback(t, api, nobody, report(nobody, "evt-1", "DELIVERED")); code != 404 {
		t.Errorf("an unknown order: %d %v", code, answer)
	}
	if code, answer := callback(t, api, "42", report("42", "evt-1", "DELIVERED")); code != 422 && code != 404 {
		t.Errorf("no order id: %d %v", code, answer)
	}
	if len(d.causes) > 0 {
		t.Errorf("something changed: %v", d.causes)
	}
}

func TestResolve(t *testing.T) {
	for action, want := range map[string]string{"returned": "RETURNED", "written-off": "LOST"} {
		api, _ := newAPI(t, event.ParcelRecallFailed, secret)
		body := `{"action":"` + action + `","note":"found in the yard"}`
		for range 2 { // the same key counts once
			code, answer := ask(t, api, "POST", path(order1, "/resolve"), body, "X-API-Key", "k-ops", "Idempotency-Key", "k-1")
			if code != 200 || answer["status"] != want {
				t.Fatalf("%s: %d %v", action, code, answer)
			}
			history := answer["history"].([]any)
			if len(history) != 2 || history[1].(map[string]any)["note"] != "found in the yard" {
				t.Errorf("%s: history %v", action, history)
			}
		}
		if code, answer := ask(t, api, "POST", path(order1, "/resolve"), body, "X-API-Key", "k-ops"); code != 409 || !strings.Contains(fmt.Sprint(answer["detail"]), want) {
			t.Errorf("%s again, by another request: %d %v", action, code, answer)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, c := range []struct {
		id        event.OrderID
		key, body string
		status    int
	}{
		{order1, "k-ops", `{"action":"shrug","note":"n"}`, 422},
		{order1, "k-ops", `{"action":"returned"}`, 422},
		{order1, "k-ops", `{"action":"returned","note":""}`, 422},
		{order1, "k-ops", `{"action":"returned","note":"` + strings.Repeat("n", 2001) + `"}`, 422},
		{nobody, "k-ops", `{"action":"returned","note":"n"}`, 404},
		{"42", "k-ops", `{"action":"returned","note":"n"}`, 404},
		{order1, "k-shop", `{"action":"returned","note":"n"}`, 403},
		{order1, "", `{"action":"returned","note":"n"}`, 401},
	} {
		api, d := newAPI(t, event.ParcelRecallFailed, secret)
		if code, answer := ask(t, api, "POST", path(c.id, "/resolve"), c.body, "X-API-Key", c.key); code != c.status {
			t.Errorf("%s %q %.60s: %d %v, want %d", c.id, c.key, c.body, code, answer, c.status)
		}
		if d.rows[order1].Status != event.ParcelRecallFailed {
			t.Errorf("%s %q %.60s: changed all the same", c.id, c.key, c.body)
		}
	}
}
