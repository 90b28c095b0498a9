package httpapi_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/httpapi"
)

const good = `{"items":[{"sku":"A","quantity":1}]}`

func TestBadBodiesAreRefusedWithTheirPlace(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for _, test := range []struct {
		name, body string
		status     int
		location   string
	}{
		{"none", "", 400, ""},
		{"blank", "  ", 400, "body"},
		{"not JSON", "name=x", 400, "body"},
		{"half", `{"items":[{"sku":"A"`, 400, "body.items[0]"},
		{"bad syntax inside", `{"items":[{"sku":"A","quantity":01}]}`, 400, "body.items[0]"},
		{"something after it", good + "{}", 400, "body"},
		{"garbage after it", good + "x", 400, "body"},
		{"invalid UTF-8", "{\"name\":\"\xff\",\"items\":[{\"sku\":\"A\",\"quantity\":1}]}", 400, "body"},
		{"NUL", `{"name":"a\u0000b","items":[{"sku":"A","quantity":1}]}`, 400, "body.name"},
		{"NUL in a name", `{"na\u0000me":"a","items":[{"sku":"A","quantity":1}]}`, 400, "body"},
		{"deep", strings.Repeat("[", 40) + strings.Repeat("]", 40), 400, "body" + strings.Repeat("[0]", 32)},
		{"a name twice", `{"items":[{"sku":"A","quantity":1,"quantity":-1}]}`, 400, "body.items[0].quantity"},
		{"beyond int64", `{"items":[{"sku":"A","quantity":1},{"sku":"B","quantity":9223372036854775808}]}`, 400, "body.items[1].quantity"},
		{"beyond float64", `{"items":[{"sku":"A","quantity":1e999}]}`, 400, "body.items[0].quantity"},
		{"a list", `[]`, 422, "body"},
		{"null", `null`, 422, "body"},
		{"items null", `{"items":null}`, 422, "body.items"},
		{"items missing", `{}`, 422, "body"},
		{"no items", `{"items":[]}`, 422, "body.items"},
		{"unknown field", `{"itmes":[],"items":[{"sku":"A","quantity":1}]}`, 422, "body.itmes"},
		{"other spelling", `{"items":[{"sku":"A","quantity":1,"QUANTITY":-1}]}`, 422, "body.items[0].QUANTITY"},
		{"wrong type", `{"items":[{"sku":7,"quantity":1}]}`, 422, "body.items[0].sku"},
		{"number as text", `{"items":[{"sku":"A","quantity":"1"}]}`, 422, "body.items[0].quantity"},
		{"fraction", `{"items":[{"sku":"A","quantity":1.5}]}`, 422, "body.items[0].quantity"},
		{"negative", `{"items":[{"sku":"A","quantity":-1}]}`, 422, "body.items[0].quantity"},
		{"too much", `{"items":[{"sku":"A","quantity":1000001}]}`, 422, "body.items[0].quantity"},
		{"too long", `{"name":"` + strings.Repeat("x", 21) + `","items":[{"sku":"A","quantity":1}]}`, 422, "body.name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := problem(t, send(t, api, "PUT", "/baskets/1", test.body), test.status, "/baskets/1")
			if test.location == "" {
				return
			}
			if len(p.Errors) == 0 || p.Errors[0].Location != test.location {
				t.Errorf("errors %+v, want location %s", p.Errors, test.location)
			}
		})
	}
}

func TestAnswersDoNotRepeatWhatWasSent(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	w := send(t, api, "PUT", "/baskets/1", `{"name":"4111111111111111111111111","items":"x"}`)
	if strings.Contains(w.Body.String(), "4111") {
		t.Errorf("body: %s", w.Body)
	}
}

func TestIntegersWrittenAsFractionsAreRefused(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for _, number := range []string{"1.0", "1e0"} {
		w := send(t, api, "PUT", "/baskets/1", `{"items":[{"sku":"A","quantity":`+number+`}]}`)
		p := problem(t, w, 422, "/baskets/1")
		if len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Message, "items.0.quantity: a number "+number) {
			t.Errorf("errors %+v", p.Errors)
		}
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	fill := func(size int) string { return good + strings.Repeat(" ", size-len(good)) }
	problem(t, send(t, api, "PUT", "/baskets/1", fill(httpapi.MaxBody+1)), 413, "/baskets/1")
	if w := send(t, api, "PUT", "/baskets/1", fill(httpapi.MaxBody)); w.Code != 200 {
		t.Errorf("a body of exactly the limit: %d", w.Code)
	}
}

func TestMediaTypes(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for mediaType, status := range map[string]int{
		"application/json": 200, "Application/JSON; charset=UTF-8": 200,
		"application/json; charset=latin1": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "": 415, ";": 415, "application/cbor": 415,
	} {
		if w := send(t, api, "PUT", "/baskets/1", good, "Content-Type", mediaType); w.Code != status {
			t.Errorf("%q: %d, want %d", mediaType, w.Code, status)
		} else if status != 200 {
			problem(t, w, status, "/baskets/1")
		}
	}
}

// FuzzBody looks for a body that is accepted and means something else than what
// was validated, or that is answered with an error of ours.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{good, "", "null", `{"items":[{"sku":"A","quantity":1e3}]}`, `{"Items":[]}`, `{"items":[{"sku":"\ud800","quantity":1}],"name":"ä"}`, "[[[", "\xff"} {
		f.Add([]byte(seed))
	}
	api := httpapi.New(httpapi.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	registerBasket(api)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("PUT", "/baskets/1", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		if w.Code != 200 {
			return
		}
		var sent, taken basket
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatalf("%q was accepted: %v", body, err)
		}
		if err := json.Unmarshal(w.Body.Bytes(), &taken); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sent, taken); diff != "" {
			t.Fatalf("%q: %s", body, diff)
		}
		if n := len(taken.Items); n < 1 || n > 3 {
			t.Fatalf("%q: %d items", body, n)
		}
		for _, l := range taken.Items {
			if l.Quantity < 1 || l.Quantity > 1_000_000 || l.SKU == "" || strings.ContainsRune(l.SKU, 0) {
				t.Fatalf("%q: %+v", body, l)
			}
		}
	})
}

// deadlines records what a connection was told.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = append(d.read, t); return nil }

func TestTheBodysDeadlineDoesNotOutliveIt(t *testing.T) {
	// net/http cancels a request's context when a read deadline passes while it runs.
	api, _ := newAPI(t, httpapi.Config{})
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("PUT", "/baskets/1", strings.NewReader(good))
	r.Header.Set("Content-Type", "application/json")
	api.ServeHTTP(w, r)
	if len(w.read) < 2 || w.read[0].IsZero() || !w.read[len(w.read)-1].IsZero() {
		t.Errorf("read deadlines %v, want one for the body and none in the end", w.read)
	}
}

type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestBodiesThatDoNotArrive(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for status, err := range map[int]error{408: timeout{io.ErrNoProgress}, 400: io.ErrUnexpectedEOF} {
		r := httptest.NewRequest("PUT", "/baskets/1", failing{err})
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		problem(t, w, status, "/baskets/1")
	}
}
