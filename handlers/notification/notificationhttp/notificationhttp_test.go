package notificationhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationhttp"
	"millrace/httpapi"
)

const orderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")

type reads struct {
	orders []notification.Order
	err    error
}

func (r reads) OfOrder(_ context.Context, id event.OrderID) (found []notification.Order, err error) {
	for _, o := range r.orders {
		if o.ID == id {
			found = append(found, o)
		}
	}
	return found, r.err
}

func (r reads) OfCustomer(_ context.Context, customer string, limit int) (found []notification.Order, err error) {
	for _, o := range r.orders {
		if o.CustomerID == customer && len(found) < limit {
			found = append(found, o)
		}
	}
	return found, r.err
}

func get(r reads, target string) *httptest.ResponseRecorder {
	api := httpapi.New(httpapi.Config{})
	notificationhttp.Register(api.Huma, r)
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

var stored = reads{orders: []notification.Order{{
	ID: orderID, CustomerID: "c-42", Status: notification.Addressed,
	Notices: []notification.Notice{
		{Kind: event.NoticePlaced, Channel: event.ChannelEmail, Status: notification.Sent, SentAt: time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)},
		{Kind: event.NoticePlaced, Channel: event.ChannelSMS, Status: notification.Skipped},
	},
}}}

const storedBody = `{"notifications":[` +
	`{"notificationId":"85e5b41e-1866-5e0f-8b72-91535f53f8c1","orderId":"0199c0de-0000-7000-8000-000000000001","kind":"placed","channel":"email","status":"SENT","sentAt":"2026-03-01T12:00:00.005Z"},` +
	`{"notificationId":"d70bf60f-601a-51f8-ad25-2bacf07b6ac3","orderId":"0199c0de-0000-7000-8000-000000000001","kind":"placed","channel":"sms","status":"SKIPPED","sentAt":null}]}`

func TestListNotifications(t *testing.T) {
	const none = `{"notifications":[]}`
	for name, c := range map[string]struct{ query, want string }{
		"of an order":                  {"orderId=" + string(orderID), storedBody},
		"of a customer":                {"customerId=c-42", storedBody},
		"of both":                      {"customerId=c-42&orderId=" + string(orderID), storedBody},
		"of another customer":          {"customerId=c-1&orderId=" + string(orderID), none},
		"of an unknown order":          {"orderId=0199c0de-0000-7000-8000-000000000009", none},
		"of a customer never heard of": {"customerId=c-9", none},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(stored, "/notifications?"+c.query)
			if w.Code != http.StatusOK {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			var got, want any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadQueriesAreRefused(t *testing.T) {
	for query, location := range map[string]string{
		"":          "query.orderId",
		"orderId=":  "query.orderId",
		"orderId=7": "query.orderId",
		"orderId=0199C0DE-0000-7000-8000-000000000001": "query.orderId",
		"orderid=7": "query.orderid",
	} {
		t.Run(query, func(t *testing.T) {
			w := get(stored, "/notifications?"+query)
			var p httpapi.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusUnprocessableEntity || len(p.Errors) == 0 || p.Errors[0].Location != location {
				t.Errorf("%d: %+v, want 422 at %s", w.Code, p, location)
			}
		})
	}
}

func TestAFailingDatabaseIsNotTold(t *testing.T) {
	w := get(reads{err: errors.New("password=secret")}, "/notifications?customerId=c-42")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
