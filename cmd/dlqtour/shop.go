package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
)

// order is one of the tour's.
type order struct {
	customer, country string
	postalCode        string // SHIP-SLOW: the simulated carrier takes its time

	id, status, reason string
	letter             string // how the id of the letter about it begins
}

// answer is what the order routes say, as far as the tour needs it.
type answer struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
}

// post makes a request that must be taken, and prints it.
func (t *tour) post(ctx context.Context, path, about, body string) (a answer, err error) {
	status, text, err := t.call(ctx, http.MethodPost, t.at.HTTP+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if status != http.StatusAccepted {
		return a, fmt.Errorf("POST %s: %d %s", path, status, text)
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return a, fmt.Errorf("POST %s: %q: %w", path, text, err)
	}
	fmt.Fprintf(t.out, "POST %s%s -> %d %s\n", path, about, status, a.Status)
	return a, nil
}

func (t *tour) place(ctx context.Context, o *order) error {
	body := fmt.Sprintf(`{"customerId": %q, "currency": "EUR", "paymentMethod": "pm_accepted",
 "items": [{"sku": "MUG-RED", "quantity": 1, "unitPrice": 1250}],
 "shippingAddress": {"name": %[1]q, "street": "1 Mill Lane", "city": "Millbrook", "postalCode": %[3]q, "country": %[2]q}}`, o.customer, o.country, o.postalCode)
	a, err := t.post(ctx, "/orders", fmt.Sprintf(" (%s, %s)", o.customer, o.country), body)
	o.id, o.status = a.OrderID, a.Status
	return err
}

func (t *tour) cancel(ctx context.Context, o *order) error {
	_, err := t.post(ctx, "/orders/"+o.id+"/cancel", "", "")
	return err
}

// awaitStatuses waits until each order has its status.
func (t *tour) awaitStatuses(ctx context.Context, statuses ...string) error {
	for i, o := range t.orders {
		err := await(ctx, patience, "order "+o.id+" is "+statuses[i], func(ctx context.Context) (bool, error) {
			var a answer
			if err := t.get(ctx, "/orders/"+o.id+"/status", &a); err != nil {
				return false, err
			}
			o.status, o.reason = a.Status, a.Reason
			return o.status == statuses[i], nil
		})
		if err != nil {
			return fmt.Errorf("%w; it is %s", err, o.status)
		}
	}
	return nil
}

// lookAtStatuses learns how the orders are now.
func (t *tour) lookAtStatuses(ctx context.Context) error {
	for _, o := range t.orders {
		var a answer
		if err := t.get(ctx, "/orders/"+o.id+"/status", &a); err != nil {
			return err
		}
		o.status, o.reason = a.Status, a.Reason
	}
	return nil
}

func (t *tour) printOrders() {
	fmt.Fprintln(t.out)
	table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ORDER\tCUSTOMER\tCOUNTRY\tSTATUS")
	for _, o := range t.orders {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", o.id, o.customer, o.country, strings.TrimSpace(o.status+" "+o.reason))
	}
	_ = table.Flush() // the terminal's errors are nobody's business here
}

// history prints a parcel's, and returns its statuses.
func (t *tour) history(ctx context.Context, o *order) (string, error) {
	path := "/shipments/" + o.id
	t.does("$", "curl -s "+t.at.HTTP+path+" | jq -c '.history[]'")
	var parcel struct {
		History []json.RawMessage `json:"history"`
	}
	if err := t.get(ctx, path, &parcel); err != nil {
		return "", err
	}
	var statuses []string
	for _, entry := range parcel.History {
		fmt.Fprintf(t.out, "%s\n", entry)
		var a answer
		if err := json.Unmarshal(entry, &a); err != nil {
			return "", fmt.Errorf("GET %s: %q: %w", path, entry, err)
		}
		statuses = append(statuses, a.Status)
	}
	return strings.Join(statuses, " "), nil
}

func (t *tour) get(ctx context.Context, path string, into any) error {
	status, text, err := t.call(ctx, http.MethodGet, t.at.HTTP+path, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, status, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("GET %s: %q: %w", path, text, err)
	}
	return nil
}
