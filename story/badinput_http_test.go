//go:build unix

package story_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/signature"
)

// badRequest is one kind of bad input over HTTP, and its answer.
type badRequest struct {
	kind         string
	method, path string
	header       header
	body         string
	status       int
	// at is where the answer says the fault is; empty where it names no field.
	at string
}

// goodBody is an order in which one part can be replaced.
func goodBody(old, replacement string) string {
	const good = `{"customerId":"c-1","currency":"EUR","paymentMethod":"pm_accepted","items":[{"sku":"MUG","quantity":2,"unitPrice":1250}]}`
	if !strings.Contains(good, old) {
		panic("the good order does not contain " + old)
	}
	return strings.Replace(good, old, replacement, 1)
}

func manyItems(n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(`{"sku":"MUG-%d","quantity":1,"unitPrice":1}`, i)
	}
	return "[" + strings.Join(items, ",") + "]"
}

const (
	oneItem    = `[{"sku":"MUG","quantity":2,"unitPrice":1250}]`
	nobodysID  = "0199c0de-0000-7000-8000-00000000dead"
	twoMiB     = 2 << 20
	pastHeader = 64 << 10 // twice what a server takes
)

// badOrders are bodies of POST /orders.
var badOrders = []badRequest{
	{kind: "not JSON", body: `customerId=c-1`, status: 400, at: "body"},
	{kind: "JSON that ends early", body: `{"customerId":"c-1"`, status: 400, at: "body"},
	{kind: "something behind the JSON", body: goodBody("", "") + `{}`, status: 400, at: "body"},
	{kind: "a JSON array", body: `[]`, status: 422, at: "body"},
	{kind: "null", body: `null`, status: 422, at: "body"},
	{kind: "a text that is a number", body: goodBody(`"c-1"`, `7`), status: 422, at: "body.customerId"},
	{kind: "a number that is a text", body: goodBody(`2,`, `"2",`), status: 422, at: "body.items[0].quantity"},
	{kind: "an unknown field", body: goodBody(`"currency"`, `"colour":"red","currency"`), status: 422, at: "body.colour"},
	{kind: "a field in other letters", body: goodBody(`"currency"`, `"Currency"`), status: 422, at: "body"},
	{kind: "a field twice", body: goodBody(`"currency"`, `"customerId":"c-2","currency"`), status: 400, at: "body.customerId"},
	{kind: "a negative quantity", body: goodBody(`2,`, `-2,`), status: 422, at: "body.items[0].quantity"},
	{kind: "a negative price", body: goodBody(`1250`, `-1`), status: 422, at: "body.items[0].unitPrice"},
	{kind: "a number beyond 64 bits", body: goodBody(`1250`, `9223372036854775808`), status: 400, at: "body.items[0].unitPrice"},
	{kind: "a total beyond 64 bits", body: goodBody(`1250`, `9223372036854775807`), status: 422, at: "body.items"},
	{kind: "a fraction", body: goodBody(`2,`, `1.5,`), status: 422, at: "body.items[0].quantity"},
	{kind: "an exponent", body: goodBody(`1250`, `1e3`), status: 422},
	{kind: "a number out of range", body: goodBody(`1250`, `1e999`), status: 400, at: "body.items[0].unitPrice"},
	{kind: "a body of 2 MiB", body: goodBody(`"c-1"`, `"`+strings.Repeat("c", twoMiB)+`"`), status: 413},
	{kind: "no items", body: goodBody(oneItem, `[]`), status: 422, at: "body.items"},
	{kind: "items left out", body: goodBody(`,"items":`+oneItem, ``), status: 422, at: "body"},
	{kind: "items that are null", body: goodBody(oneItem, `null`), status: 422, at: "body.items"},
	{kind: "101 items", body: goodBody(oneItem, manyItems(101)), status: 422, at: "body.items"},
	{kind: "one SKU on two lines", body: goodBody(`]`, `,{"sku":"MUG","quantity":1,"unitPrice":1}]`), status: 422, at: "body.items[1].sku"},
	{kind: "a currency of four letters", body: goodBody(`EUR`, `EURO`), status: 422, at: "body.currency"},
	{kind: "a currency nobody has", body: goodBody(`EUR`, `ZZZ`), status: 422, at: "body.currency"},
	{kind: "invalid UTF-8", body: goodBody(`c-1`, "c-\xff"), status: 400, at: "body"},
	{kind: "NUL in a text", body: goodBody(`c-1`, `c-\u0000`), status: 400, at: "body.customerId"},
	{kind: "a line break in an id", body: goodBody(`c-1`, `c\n1`), status: 422, at: "body.customerId"},
	{kind: "an object 40 levels deep", body: strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40), status: 400, at: "body" + strings.Repeat(".a", 32)},
	{kind: "another media type", header: header{"Content-Type": "text/plain"}, body: goodBody("", ""), status: 415},
	{kind: "no media type", header: header{"Content-Type": ""}, body: goodBody("", ""), status: 415},
	{kind: "another charset", header: header{"Content-Type": "application/json; charset=utf-16"}, body: goodBody("", ""), status: 415},
	{kind: "no body", status: 400},
	{kind: "a correlation id with a line break", header: header{"X-Correlation-ID": "a\tb"}, body: goodBody("", ""), status: 400, at: "header.X-Correlation-ID"},
	{kind: "an idempotency key of 300 characters", header: header{"Idempotency-Key": strings.Repeat("k", 300)}, body: goodBody("", ""), status: 400, at: "header.Idempotency-Key"},
	{kind: "an idempotency key of another order", header: header{"Idempotency-Key": usedKey}, body: goodBody("c-1", "c-2"), status: 422, at: "header.Idempotency-Key"},
	{kind: "64 KiB of headers", header: header{"X-Large": strings.Repeat("x", pastHeader)}, body: goodBody("", ""), status: 431},
	{kind: "a foreign web page", header: header{"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}, body: goodBody("", ""), status: 403},
}

// usedKey is the Idempotency-Key of an order that was placed before.
const usedKey = "the key of another order"

// badElsewhere are the other routes.
var badElsewhere = []badRequest{
	{kind: "another method", method: "DELETE", path: "/orders", status: 405},
	{kind: "an unknown path", method: "GET", path: "/order", status: 404},
	{kind: "a path that is not UTF-8", method: "GET", path: "/orders/%ff", status: 400},
	{kind: "an id that is no UUID", method: "GET", path: "/orders/1", status: 404},
	{kind: "an id in upper case", method: "GET", path: "/orders/" + strings.ToUpper(nobodysID), status: 404},
	{kind: "an order nobody placed", method: "GET", path: "/orders/" + nobodysID, status: 404},
	{kind: "its payment", method: "GET", path: "/payments/" + nobodysID, status: 404},
	{kind: "cancelling it", method: "POST", path: "/orders/" + nobodysID + "/cancel", status: 404},
	{kind: "an unknown query parameter", method: "GET", path: "/orders?customer=c-1", status: 422, at: "query.customer"},
	{kind: "a limit of nothing", method: "GET", path: "/orders?limit=0", status: 422, at: "query.limit"},
	{kind: "a cursor of nobody's", method: "GET", path: "/orders?cursor=%27%3B--", status: 422, at: "query.cursor"},
	{kind: "a status there is not", method: "GET", path: "/orders?status=LOST", status: 422, at: "query.status"},
	{kind: "fewer pieces than none", method: "PUT", path: "/inventory/MUG", body: `{"add":-1}`, status: 409},
	{kind: "more pieces than there can be", method: "PUT", path: "/inventory/MUG", body: `{"add":9007199254740992}`, status: 422, at: "body.add"},
	{kind: "a SKU with a space", method: "PUT", path: "/inventory/A%20MUG", body: `{"add":1}`, status: 422, at: "path.sku"},
	{kind: "no pieces named", method: "PUT", path: "/inventory/MUG", body: `{"name":"Mug"}`, status: 422, at: "body"},
	{kind: "a refund nobody refused", method: "POST", path: "/payments/" + nobodysID + "/refund", body: `{"action":"retry","note":"why"}`, status: 404},
	{kind: "an unknown action", method: "POST", path: "/payments/" + nobodysID + "/refund", body: `{"action":"forget","note":"why"}`, status: 422, at: "body.action"},
}

// badCallbacks are what provider and carrier would not send.
func badCallbacks() []badRequest {
	body := `{"orderId":"` + nobodysID + `","eventId":"e-1","status":"captured","providerRef":"p-1"}`
	parcel := `{"orderId":"` + nobodysID + `","eventId":"e-1","status":"LOST"}`
	sign := func(secret string, body string, at time.Time) header {
		return header{signature.Header: signature.Sign([]byte(secret), []byte(body), at)}
	}
	now := time.Now()
	const provider, old = "/payments/callback", 6 * time.Minute
	carrier := "/shipments/" + nobodysID + "/status"
	return []badRequest{
		{kind: "a callback without a signature", path: provider, body: body, status: 401},
		{kind: "signed with another secret", path: provider, header: sign(carrierSecret, body, now), body: body, status: 401},
		{kind: "signed for another body", path: provider, header: sign(providerSecret, parcel, now), body: body, status: 401},
		{kind: "signed six minutes ago", path: provider, header: sign(providerSecret, body, now.Add(-old)), body: body, status: 401},
		{kind: "signed in six minutes", path: provider, header: sign(providerSecret, body, now.Add(old)), body: body, status: 401},
		{kind: "a signature that is none", path: provider, header: header{signature.Header: "t=now,v1=zz"}, body: body, status: 401},
		{kind: "signed, on an order nobody placed", path: provider, header: sign(providerSecret, body, now), body: body, status: 404},
		{kind: "a carrier's report without a signature", path: carrier, body: parcel, status: 401},
		{kind: "a carrier's report on nobody's parcel", path: carrier, header: sign(carrierSecret, parcel, now), body: parcel, status: 404},
	}
}

func testBadRequests(t *testing.T, s *shop, brokers string) {
	first := s.in(t)
	first.do(http.MethodPost, "/orders", header{"Idempotency-Key": usedKey}, json.RawMessage(goodBody("", "")), http.StatusAccepted, nil)
	eventually(t, "the first order has ended", func() error { _, err := first.allEnded(); return err })
	// What was said last is published, then heard by all, then the customer was told of it.
	eventually(t, "nothing is on its way", func() error { return atRest(s) })
	noLag(first, brokers)
	eventually(t, "nothing is on its way", func() error { return atRest(s) })
	before := everything(t, s)
	var table []string
	all := slices.Concat(badOrders, badElsewhere, badCallbacks())
	for _, r := range all {
		if r.method == "" {
			r.method = http.MethodPost
		}
		if r.path == "" {
			r.path = "/orders"
		}
		t.Run(r.kind, func(t *testing.T) {
			table = append(table, fmt.Sprintf("%-42s %s", r.kind, refused(t, s, r)))
		})
	}
	if after := everything(t, s); after != before {
		t.Errorf("something changed:\nbefore %s\nafter  %s", before, after)
	}
	t.Logf("%d kinds of bad requests, and their answers:\n%s", len(all), strings.Join(table, "\n"))
}

// refused makes the request, and tells how it was answered.
func refused(t *testing.T, s *shop, r badRequest) string {
	url, err := s.url(r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, r.method, url, bytes.NewReader([]byte(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range r.header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != r.status {
		t.Errorf("answers %d, want %d: %s", response.StatusCode, r.status, text)
	}
	if r.status == http.StatusRequestHeaderFieldsTooLarge {
		return fmt.Sprintf("%d before anything reads it", response.StatusCode) // net/http itself
	}
	var problem struct {
		Type, Title, Detail, Instance string
		Status                        int
		Errors                        []struct{ Location, Message string }
	}
	if err := json.Unmarshal(text, &problem); err != nil || response.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s is no problem: %v\n%s", response.Header.Get("Content-Type"), err, text)
	}
	if problem.Type == "" || problem.Title == "" || problem.Detail == "" || problem.Instance == "" || problem.Status != r.status {
		t.Errorf("the problem is not complete: %s", text)
	}
	var places []string
	for _, e := range problem.Errors {
		places = append(places, e.Location)
		if e.Message == "" {
			t.Errorf("an error without a message: %s", text)
		}
	}
	if r.at != "" && !slices.Contains(places, r.at) {
		t.Errorf("the fault is said to be at %q, want %q: %s", places, r.at, text)
	}
	if len(problem.Errors) == 0 {
		return fmt.Sprintf("%d %s", response.StatusCode, problem.Detail)
	}
	first := problem.Errors[0]
	if len(first.Location) > 40 {
		first.Location = first.Location[:40] + "…"
	}
	return fmt.Sprintf("%d %s: %s", response.StatusCode, first.Location, first.Message)
}

// everything is what the databases hold, in a line: rows and how often they changed.
func everything(t *testing.T, s *shop) string {
	t.Helper()
	var line []string
	for _, table := range []string{"orders.orders", "payments.payments", "inventory.reservations", "inventory.stock",
		"shipping.shipments", "notification.orders", "analytics.orders"} {
		var rows, changes int
		if err := s.books.QueryRow("SELECT count(*), coalesce(sum(version), 0) FROM "+table).Scan(&rows, &changes); err != nil {
			t.Fatalf("count %s: %v", table, err)
		}
		line = append(line, fmt.Sprintf("%s %d rows %d changes", table, rows, changes))
	}
	return strings.Join(line, ", ")
}

// atRest is nil when no event and no call is on its way.
func atRest(s *shop) error {
	var events, calls int
	err := s.books.QueryRow(`SELECT (SELECT count(*) FROM millrace.outbox), (SELECT count(*) FROM millrace.waits)`).Scan(&events, &calls)
	if err == nil && events+calls > 0 {
		err = fmt.Errorf("%d events, %d calls", events, calls)
	}
	return err
}
