package topic_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/topic"
)

const orderID = "0199c0de-0000-7000-8000-000000000001"

// goldens are the bodies of the wire contract, by file name.
func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../event/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files in ../event/testdata", err)
	}
	bodies := make(map[string][]byte, len(files))
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies[strings.TrimSuffix(filepath.Base(file), ".json")] = body
	}
	return bodies
}

// infoOf is the topic a golden file's event travels on.
func infoOf(t testing.TB, file string) topic.Info {
	t.Helper()
	name, _, _ := strings.Cut(file, ".")
	for _, info := range topic.All() {
		if info.Event == name {
			return info
		}
	}
	t.Fatalf("no topic for %s", file)
	return topic.Info{}
}

func TestDecodeRefusesWhatIsNotTheEvent(t *testing.T) {
	withID := func(id string) string { return `{"orderId":"` + id + `"}` }
	for name, body := range map[string]string{
		"nothing":                 "",
		"white space":             " \r\n\t",
		"not JSON":                "hello",
		"null":                    "null",
		"a number":                "7",
		"a string":                `"` + orderID + `"`,
		"a list":                  "[" + withID(orderID) + "]",
		"cut off":                 `{"orderId":"` + orderID,
		"something after it":      withID(orderID) + "}",
		"two of them":             withID(orderID) + withID(orderID),
		"a byte order mark":       "\ufeff" + withID(orderID),
		"no order id":             "{}",
		"an empty order id":       withID(""),
		"a foreign order id":      withID("order-7"),
		"an order id in capitals": withID(strings.ToUpper(orderID)),
		"an order id in braces":   withID("{" + orderID + "}"),
		"an order id with blanks": withID(" " + orderID),
		"a short order id":        withID(orderID[:35]),
		"invalid UTF-8 in it":     withID("\xff" + orderID[1:]),
		"an order id of a number": `{"orderId":7}`,
		"an order id of null":     `{"orderId":null}`,
		"binary":                  "\x00\x01\x02\xff",
	} {
		t.Run(name, func(t *testing.T) {
			for _, info := range topic.All() {
				e, err := info.Decode([]byte(body))
				if err == nil {
					t.Fatalf("%s: read as %+v", info.Event, e)
				}
				if !strings.Contains(err.Error(), "body") && !strings.Contains(err.Error(), info.Event) {
					t.Errorf("%s: the error does not say what was read: %v", info.Event, err)
				}
			}
		})
	}
	_, err := topic.OrderCreated.Decode([]byte(withID("order-7")))
	if !errors.Is(err, event.ErrNotAnOrderID) {
		t.Errorf("got %v, want ErrNotAnOrderID", err)
	}
}

func TestDecodeRefusesWrongTypes(t *testing.T) {
	for body, info := range map[string]topic.Info{
		`"items":"MUG-RED"`:                       topic.OrderCreated.Info,
		`"items":{"sku":"MUG-RED"}`:               topic.InventoryUpdate.Info,
		`"items":[{"quantity":"2"}]`:              topic.InventoryReserved.Info,
		`"items":[{"quantity":1.5}]`:              topic.InventoryReserved.Info,
		`"items":[{"unitPrice":1e30}]`:            topic.PaymentInitiated.Info,
		`"total":{"amount":92233720368547758080}`: topic.PaymentSucceeded.Info,
		`"total":2500`:                            topic.PaymentRefunded.Info,
		`"customerId":42`:                         topic.OrderCreated.Info,
		`"shippingAddress":"Bath"`:                topic.ShippingInitiate.Info,
		`"refundFollows":"yes"`:                   topic.PaymentFailed.Info,
		`"afterSuccess":1`:                        topic.PaymentRefunded.Info,
		`"expiresAt":"soon"`:                      topic.PaymentPending.Info,
		`"expiresAt":1767225600`:                  topic.PaymentPending.Info,
		`"status":["PAID"]`:                       topic.OrderStatusUpdated.Info,
		`"short":[7]`:                             topic.InventoryRejected.Info,
	} {
		t.Run(info.Event+" "+body, func(t *testing.T) {
			if e, err := info.Decode([]byte(`{"orderId":"` + orderID + `",` + body + `}`)); err == nil {
				t.Errorf("read as %+v", e)
			}
		})
	}
}

// Fields are only ever added, so a consumer must not mind one it does not know.
func TestDecodeIgnoresUnknownFields(t *testing.T) {
	for file, body := range goldens(t) {
		t.Run(file, func(t *testing.T) {
			info := infoOf(t, file)
			want, err := info.Decode(body)
			if err != nil {
				t.Fatal(err)
			}
			newer := `{"ofANewerVersion":{"deep":[1,null,"x"]},` + strings.TrimPrefix(string(body), "{")
			got, err := info.Decode([]byte(newer))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryEventHasOneTopic(t *testing.T) {
	names := map[string]bool{}
	for _, info := range topic.All() {
		if names[info.Name] || names[info.Event] {
			t.Errorf("%s (%s) is there twice", info.Name, info.Event)
		}
		names[info.Name], names[info.Event] = true, true
		if info.Intent == "" || info.SchemaVersion < 1 {
			t.Errorf("%s: %+v", info.Name, info)
		}
		named, ok := topic.Named(info.Name)
		if !ok || named.Event != info.Event {
			t.Errorf("Named(%q) is %+v", info.Name, named)
		}
	}
	if got, want := len(topic.All()), 16; got != want {
		t.Errorf("%d topics, want %d", got, want)
	}
	if info, ok := topic.For(event.PaymentFailed{}); !ok || info.Name != "ecommerce.payment.failed" {
		t.Errorf("For(PaymentFailed) is %+v", info)
	}
	if _, ok := topic.For(foreign{}); ok {
		t.Error("an event nobody declared has a topic")
	}
	if _, ok := topic.Named("ecommerce.unheard.of"); ok {
		t.Error("a topic nobody declared is known")
	}
	topic.All()[0].Name = "changed"
	if topic.All()[0].Name == "changed" {
		t.Error("All hands out the table itself")
	}
}

type foreign struct{}

func (foreign) Key() event.OrderID { return "" }

// FuzzDecode: whatever lies in a topic, reading it either fails or gives an event
// that can be written and read again as the same.
func FuzzDecode(f *testing.F) {
	for file, body := range goldens(f) {
		for i, info := range topic.All() {
			if info.Event == infoOf(f, file).Event {
				f.Add(i, body)
			}
		}
	}
	for i, body := range []string{
		"", "{}", "null", "[]", `{"orderId":"` + orderID + `","items":null}`, `{"orderId":"` + orderID + `","expiresAt":"0000-01-01T00:00:00Z"}`,
		`{"ORDERID":"` + orderID + `"}`, `{"orderId":"` + orderID + `","orderId":"x"}`, `{"orderId":"\ud800"}`, strings.Repeat("[", 20_000),
	} {
		f.Add(i, []byte(body))
	}
	all := topic.All()
	f.Fuzz(func(t *testing.T, n int, body []byte) {
		info := all[uint(n)%uint(len(all))]
		e, err := info.Decode(body)
		if err != nil {
			return
		}
		if _, err := event.ParseOrderID(string(e.Key())); err != nil {
			t.Fatalf("the key %q is no order id", e.Key())
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", e, err)
		}
		reread, err := info.Decode(again)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", again, err)
		}
		rewritten, err := json.Marshal(reread)
		if err != nil {
			t.Fatal(err)
		}
		if string(rewritten) != string(again) {
			t.Fatalf("%s became %s", again, rewritten)
		}
	})
}
