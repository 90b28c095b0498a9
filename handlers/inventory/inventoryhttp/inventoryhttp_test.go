package inventoryhttp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventoryhttp"
	"millrace/httpapi"
)

const (
	held      = event.OrderID("0199c0de-0000-7000-8000-000000000001")
	tombstone = event.OrderID("0199c0de-0000-7000-8000-000000000002")
)

// shelf keeps levels in memory, for the service and for the reads.
type shelf struct {
	levels map[string]inventory.Level
	ledger map[string]bool
}

func (s *shelf) Update(context.Context, event.OrderID, func(*inventory.Reservation) []string,
	func(*inventory.Reservation, map[string]*inventory.Level) ([]event.Event, error)) error {
	panic("no route changes a reservation")
}

func (s *shelf) UpdateSide(ctx context.Context, keys []string, change func(map[string]*inventory.Level) error) error {
	cause := event.CauseFrom(ctx).ID
	if s.ledger[cause] {
		return nil
	}
	level := s.levels[keys[0]]
	level.SKU = keys[0]
	if err := change(map[string]*inventory.Level{keys[0]: &level}); err != nil {
		return err
	}
	s.levels[keys[0]], s.ledger[cause] = level, true
	return nil
}

func (s *shelf) Level(_ context.Context, sku string) (inventory.Level, bool, error) {
	level, known := s.levels[sku]
	return level, known, nil
}

func (s *shelf) Levels(_ context.Context, after string, limit int) ([]inventory.Level, error) {
	var page []inventory.Level
	for _, sku := range slices.Sorted(maps.Keys(s.levels)) {
		if sku > after && len(page) < limit {
			page = append(page, s.levels[sku])
		}
	}
	return page, nil
}

func (s *shelf) Reservation(_ context.Context, id event.OrderID) (inventory.Reservation, error) {
	if id != held {
		return inventory.Reservation{}, event.ErrUnknownOrder
	}
	return inventory.Reservation{ID: id, Status: inventory.Sold, Paid: true, Items: []event.Item{{SKU: "MUG", Quantity: 2, UnitPrice: 1250}}}, nil
}

func newAPI() *httpapi.API {
	api := httpapi.New(httpapi.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	s := &shelf{levels: map[string]inventory.Level{}, ledger: map[string]bool{}}
	inventoryhttp.Register(api.Huma, inventory.New(s), s)
	return api
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

func TestRestockAndRead(t *testing.T) {
	api := newAPI()
	if code, answer := ask(t, api, "GET", "/inventory", ""); code != 200 || cmp.Diff(map[string]any{"inventory": []any{}}, answer) != "" {
		t.Errorf("an empty shelf: %d %v", code, answer)
	}
	want := map[string]any{"sku": "MUG-RED", "name": "Mug, red", "initial": 10.0, "restocked": 0.0, "available": 10.0, "reserved": 0.0, "sold": 0.0, "version": 1.0}
	for range 2 { // the same key and body count once
		code, answer := ask(t, api, "PUT", "/inventory/MUG-RED", `{"name":"Mug, red","add":10}`, "Idempotency-Key", "k-1")
		if diff := cmp.Diff(want, answer); code != 200 || diff != "" {
			t.Errorf("%d\n%s", code, diff)
		}
	}
	if code, answer := ask(t, api, "GET", "/inventory/MUG-RED", ""); code != 200 || cmp.Diff(want, answer) != "" {
		t.Errorf("%d %v", code, answer)
	}
	if code, answer := ask(t, api, "PUT", "/inventory/MUG-RED", `{"add":-4}`, "Idempotency-Key", "k-1"); code != 200 || answer["available"] != 6.0 || answer["restocked"] != -4.0 {
		t.Errorf("another body is another restock: %d %v", code, answer)
	}
}

// TestAnySKUFitsIntoAPath: all printable characters are allowed in one.
func TestAnySKUFitsIntoAPath(t *testing.T) {
	api := newAPI()
	for _, sku := range []string{"A/B", "50%", "50%2FB", "a?b#c", "~!$&'()*+,;=:@[]"} {
		if code, answer := ask(t, api, "PUT", "/inventory/"+url.PathEscape(sku), `{"add":1}`); code != 200 || answer["sku"] != sku {
			t.Errorf("PUT %s: %d %v", sku, code, answer)
		}
		if code, answer := ask(t, api, "GET", "/inventory/"+url.PathEscape(sku), ""); code != 200 || answer["sku"] != sku {
			t.Errorf("GET %s: %d %v", sku, code, answer)
		}
	}
}

func TestPages(t *testing.T) {
	api := newAPI()
	for _, sku := range []string{"A", "B", "C"} {
		if code, answer := ask(t, api, "PUT", "/inventory/"+sku, `{"add":1}`); code != 200 {
			t.Fatal(code, answer)
		}
	}
	var got []string
	for path := "/inventory?limit=2"; path != ""; {
		code, page := ask(t, api, "GET", path, "")
		if code != 200 {
			t.Fatal(code, page)
		}
		for _, level := range page["inventory"].([]any) {
			got = append(got, level.(map[string]any)["sku"].(string))
		}
		path = ""
		if cursor, more := page["nextCursor"].(string); more {
			path = "/inventory?limit=2&cursor=" + cursor
		}
	}
	if diff := cmp.Diff([]string{"A", "B", "C"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReservation(t *testing.T) {
	code, answer := ask(t, newAPI(), "GET", "/reservations/"+string(held), "")
	want := map[string]any{"orderId": string(held), "status": "SOLD", "items": []any{map[string]any{"sku": "MUG", "quantity": 2.0, "unitPrice": 1250.0}}}
	if diff := cmp.Diff(want, answer); code != 200 || diff != "" {
		t.Errorf("%d\n%s", code, diff)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		location           string
	}{
		{"GET", "/inventory/GHOST", "", 404, ""},
		{"GET", "/reservations/" + string(tombstone), "", 404, ""},
		{"GET", "/reservations/42", "", 404, ""},
		{"GET", "/inventory?limit=0", "", 422, "query.limit"},
		{"GET", "/inventory?limit=201", "", 422, "query.limit"},
		{"GET", "/inventory?cursor=%21", "", 422, "query.cursor"},
		{"GET", "/inventory?cursor=IA", "", 422, "query.cursor"}, // a space
		{"GET", "/inventory?page=2", "", 422, "query.page"},
		{"PUT", "/inventory/MUG", `{}`, 422, "body"},
		{"PUT", "/inventory/MUG", `{"add":1,"sold":5}`, 422, "body.sold"},
		{"PUT", "/inventory/MUG", `{"add":"1"}`, 422, "body.add"},
		{"PUT", "/inventory/MUG", `{"add":1.5}`, 422, "body.add"},
		{"PUT", "/inventory/MUG", `{"add":9007199254740992}`, 422, "body.add"},
		{"PUT", "/inventory/MUG", `{"add":99999999999999999999}`, 400, "body.add"},
		{"PUT", "/inventory/MUG", `{"add":-1}`, 409, ""},
		{"PUT", "/inventory/MUG", `{"add":1,"name":"a\u0007"}`, 422, "body.name"},
		{"PUT", "/inventory/MUG%20RED", `{"add":1}`, 422, "path.sku"},
		{"PUT", "/inventory/" + strings.Repeat("M", 65), `{"add":1}`, 422, "path.sku"},
	} {
		api := newAPI()
		code, answer := ask(t, api, c.method, c.path, c.body)
		if code != c.status || answer["detail"] == "" || answer["title"] == "" {
			t.Errorf("%s %s %s: %d %v, want %d", c.method, c.path, c.body, code, answer, c.status)
			continue
		}
		if c.location != "" {
			errs, _ := answer["errors"].([]any)
			if len(errs) == 0 || errs[0].(map[string]any)["location"] != c.location {
				t.Errorf("%s %s %s: errors %v, want one at %s", c.method, c.path, c.body, errs, c.location)
			}
		}
		if _, list := ask(t, api, "GET", "/inventory", ""); len(list["inventory"].([]any)) > 0 {
			t.Errorf("%s %s %s changed something: %v", c.method, c.path, c.body, list)
		}
	}
	api := newAPI()
	for _, body := range []string{`{"add":9007199254740991}`, `{"add":1}`} {
		code, answer := ask(t, api, "PUT", "/inventory/MUG", body)
		if want := map[bool]int{true: 422, false: 200}[body == `{"add":1}`]; code != want {
			t.Errorf("%s: %d %v", body, code, answer)
		}
	}
}
