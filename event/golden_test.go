package event_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/topic"
)

// The golden files are the wire contract, byte for byte: what other languages'
// consumers parse and producers write. Run with -update after adding a field, and look
// at the difference: a field that changed or vanished breaks somebody.
var update = flag.Bool("update", false, "write testdata anew from the types")

const (
	id      = event.OrderID("0199c0de-0000-7000-8000-000000000001")
	goldens = "testdata"
)

var (
	items   = []event.Item{{SKU: "MUG-RED", Quantity: 2, UnitPrice: 1250}}
	total   = event.Money{Amount: 2500, Currency: "EUR"}
	address = &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"}
	contact = &event.Contact{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"}
)

// samples has every event with every field, and again with what may be left out left
// out. The name is the file's.
var samples = map[string]event.Event{
	"OrderCreated": event.OrderCreated{
		OrderID: id, CustomerID: "c-42", Items: items, Total: total, PaymentMethod: "pm_accepted", ShippingAddress: address, Contact: contact,
	},
	"OrderCreated.minimal": event.OrderCreated{OrderID: id, CustomerID: "c-42", Items: items, Total: total, PaymentMethod: "pm_accepted"},
	"PaymentInitiated": event.PaymentInitiated{
		OrderID: id, CustomerID: "c-42", Items: items, Total: total, PaymentMethod: "pm_accepted", ShippingAddress: address,
	},
	"PaymentInitiated.minimal":   event.PaymentInitiated{OrderID: id, CustomerID: "c-42", Items: items, Total: total, PaymentMethod: "pm_accepted"},
	"PaymentSucceeded":           event.PaymentSucceeded{OrderID: id, Total: total, ProviderRef: "ch_1"},
	"PaymentFailed":              event.PaymentFailed{OrderID: id, Reason: event.FailedDeclined, Message: "insufficient funds", RefundFollows: true},
	"PaymentPending":             event.PaymentPending{OrderID: id, ProviderRef: "ch_1", ExpiresAt: time.Date(2026, 3, 1, 12, 0, 30, 123_456_000, time.UTC)},
	"OrderStatusUpdated":         event.OrderStatusUpdated{OrderID: id, Status: event.OrderIsCancelled, Previous: event.OrderCancelling, Reason: event.ReasonCustomer},
	"OrderStatusUpdated.minimal": event.OrderStatusUpdated{OrderID: id, Status: event.OrderPaid, Previous: event.OrderAwaiting},
	"InventoryUpdate":            event.InventoryUpdate{OrderID: id, Items: items},
	"ShippingInitiate":           event.ShippingInitiate{OrderID: id, Items: items, ShippingAddress: address},
	"ShippingInitiate.minimal":   event.ShippingInitiate{OrderID: id, Items: items},
	"ShippingStatus":             event.ShippingStatus{OrderID: id, Status: event.ParcelShipped, Carrier: "Mill Post", TrackingNumber: "T-7"},
	"ShippingStatus.minimal":     event.ShippingStatus{OrderID: id, Status: event.ParcelStopped},
	"InventoryReserved":          event.InventoryReserved{OrderID: id, Items: items},
	"InventoryRejected":          event.InventoryRejected{OrderID: id, Items: items, Short: []event.Shortage{{SKU: "MUG-RED", Wanted: 2, Available: 1}}},
	"InventoryReleased":          event.InventoryReleased{OrderID: id, Items: items, Cause: event.ReleasedReturned},
	"InventoryReleased.minimal":  event.InventoryReleased{OrderID: id, Items: []event.Item{}, Cause: event.ReleasedPaymentFailed},
	"OrderCancelled":             event.OrderCancelled{OrderID: id, Reason: event.ReasonDeadline},
	"PaymentRefunded":            event.PaymentRefunded{OrderID: id, Total: total, ProviderRef: "re_1", AfterSuccess: true},
	"PaymentRefundFailed":        event.PaymentRefundFailed{OrderID: id, Total: total, Message: "account closed"},
	"NotificationSent": event.NotificationSent{
		OrderID: id, Kind: event.NoticePaymentFailed, Channel: event.ChannelEmail, NotificationID: "7531fdd5-7ddc-514c-88db-04ce7baa8a74",
	},
}

// read returns a golden file's bytes as they travel; the file ends in a newline, the wire does not.
func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, name+".json"))
	if err != nil {
		t.Fatalf("%v (go test ./event -update writes it)", err)
	}
	body, whole := bytes.CutSuffix(data, []byte("\n"))
	if !whole {
		t.Fatalf("%s.json does not end in a newline", name)
	}
	return body
}

func TestTheWireContract(t *testing.T) {
	for name, sample := range samples {
		t.Run(name, func(t *testing.T) {
			written, err := json.Marshal(sample)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(filepath.Join(goldens, name+".json"), append(written, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden := read(t, name)
			if diff := cmp.Diff(string(golden), string(written)); diff != "" {
				t.Errorf("written (-golden +got):\n%s", diff)
			}
			info, ok := topic.For(sample)
			if !ok {
				t.Fatal("the event has no topic")
			}
			decoded, err := info.Decode(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample, decoded); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			if decoded.Key() != id {
				t.Errorf("key %q, want the order's id", decoded.Key())
			}
		})
	}
}

// A file for each event, all its fields in it, and no file that nobody looks at.
func TestTheGoldenFilesAreComplete(t *testing.T) {
	for _, info := range topic.All() {
		sample, ok := samples[info.Event]
		if !ok {
			t.Errorf("%s has no sample", info.Event)
			continue
		}
		if empty := emptyField(reflect.ValueOf(sample)); empty != "" {
			t.Errorf("%s: the sample leaves %s empty, so its name and form are not pinned", info.Event, empty)
		}
	}
	files, err := filepath.Glob(filepath.Join(goldens, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); samples[name] == nil {
			t.Errorf("%s belongs to no sample", file)
		}
	}
}

// emptyField names a field that is zero, or "".
func emptyField(v reflect.Value) string {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return ""
	}
	switch v.Kind() {
	case reflect.Pointer:
		return emptyField(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if empty := emptyField(v.Index(i)); empty != "" {
				return empty
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			if v.Field(i).IsZero() {
				return field
			}
			if empty := emptyField(v.Field(i)); empty != "" {
				return field + "." + empty
			}
		}
	}
	return ""
}
