package verify

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"millrace/event"
	orderservice "millrace/handlers/order"
	"millrace/router"
	"millrace/transport"
)

// The checker's table is its own; should the two differ, one of them is wrong.
func TestTheFlowIsTheRouters(t *testing.T) {
	rows := router.Flow(router.Services{}).Rows()
	if len(rows) != len(flow) {
		t.Fatalf("%d topics, the router has %d", len(flow), len(rows))
	}
	for _, row := range rows {
		k, ok := kindOf(row.Topic)
		if !ok {
			t.Errorf("topic %s is not known", row.Topic)
			continue
		}
		var consumers []string
		for _, s := range flow[k].consumers {
			consumers = append(consumers, s.String())
		}
		slices.Sort(consumers)
		if want := slices.Sorted(slices.Values(row.Consumers)); !slices.Equal(consumers, want) || flow[k].publisher.String() != row.Publisher || flow[k].event != row.Event {
			t.Errorf("%+v, the router has %+v", flow[k], row)
		}
	}
	for _, s := range router.Flow(router.Services{}) {
		if serviceNamed(s.Name) == stranger || serviceNamed(s.Name).group() != s.Group() {
			t.Errorf("service %s with group %s is not known", s.Name, s.Group())
		}
	}
	topics := systemTopics()
	slices.Sort(topics)
	if want := router.Flow(router.Services{}).Topics(); !slices.Equal(topics, want) {
		t.Errorf("topics\n%v, the router has\n%v", topics, want)
	}
}

// listener keeps the cause it is asked under.
type listener struct {
	orderservice.Orders
	cause event.Cause
}

func (l *listener) Update(ctx context.Context, _ event.OrderID, _ func(*orderservice.Order) ([]event.Event, error)) error {
	l.cause = event.CauseFrom(ctx)
	return nil
}

// The ids by which services know a message are made here as the router makes them.
func TestEventIDsAreTheRouters(t *testing.T) {
	const of, topicName = "0199c0de-0000-7000-8000-000000000001", "ecommerce.inventory.reserved"
	l := &listener{}
	graph := router.Flow(router.Services{Order: orderservice.New(l, orderservice.Policy{}, nil)})
	for name, headers := range map[string]map[string]string{
		"a UUID":                  {"ce_id": "0199c0de-1111-7000-8000-00000000abcd", "_watermill_message_uuid": "0199c0de-2222-7000-8000-00000000abcd"},
		"Watermill's":             {"_watermill_message_uuid": "0199c0de-2222-7000-8000-00000000abcd"},
		"capitals":                {"ce_id": "0199C0DE-1111-7000-8000-00000000ABCD"},
		"a URN":                   {"ce_id": "URN:uuid:0199c0de-1111-7000-8000-00000000abcd"},
		"braces":                  {"ce_id": "{0199c0de-1111-7000-8000-00000000abcd}"},
		"no hyphens":              {"ce_id": "0199c0de11117000800000000000abcd"},
		"no UUID":                 {"ce_id": "order-17", "ce_source": "shop"},
		"no UUID, and no source":  {"ce_id": "order-17"},
		"no UUID, of Watermill's": {"_watermill_message_uuid": "17", "ce_source": "shop"},
		"a UUID that is none":     {"ce_id": "0199c0de-1111-7000-8000-00000000abcg", "ce_source": "shop"},
		"nothing at all":          {},
	} {
		t.Run(name, func(t *testing.T) {
			var list []wireHeader
			f := fetched{topic: topicName, partition: 2, offset: 77}
			for key, value := range headers {
				list = append(list, wireHeader{key, []byte(value)})
				f.headers = append(f.headers, header{key, []byte(value)})
			}
			msg := transport.Decode(topicName, 2, 77, []byte(`{"orderId":"`+of+`","items":[]}`), list)
			if err := graph.Deliver("order", topicName, msg); err != nil {
				t.Fatal(err)
			}
			if got := f.record(inventoryReserved).ID.String(); got != l.cause.ID {
				t.Errorf("%s, the router has %s", got, l.cause.ID)
			}
		})
	}
}

// Keys are where Kafka's clients put them. The values are of the Java client's own test.
func TestPartitionsAreMurmur2(t *testing.T) {
	const many = 1 << 30
	for key, hash := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107} {
		if got, want := partitionOf([]byte(key), many), (hash&0x7fffffff)%many; got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// What the report names as evidence must be there.
func TestTheTestsItNamesExist(t *testing.T) {
	found := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "build"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(path)
		for _, name := range pattern.FindAllStringSubmatch(string(data), -1) {
			found[name[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range promises {
		for _, name := range p.tests {
			if !found[name] {
				t.Errorf("%s names %s, which is gone", p.id, name)
			}
		}
		if p.of == "" && len(p.tests) == 0 {
			t.Errorf("%s is not to be seen in data, and nothing is named that shows it", p.id)
		}
	}
}

// Golden files are the wire contract: all that the checks need of a body is read from them.
func TestBodiesAreRead(t *testing.T) {
	for k, line := range flow {
		data, err := os.ReadFile(filepath.Join("..", "event", "testdata", line.event+".json"))
		if err != nil {
			t.Fatal(err)
		}
		key := "0199c0de-0000-7000-8000-000000000001"
		f := fetched{topic: line.topic, key: []byte(key), value: data, headers: []header{
			{headType, []byte(line.event)}, {headSchemaVersion, []byte("1")}, {headOrderVersion, []byte("3")}, {headSource, []byte(line.publisher.String())}}}
		r := f.record(kind(k))
		if !r.Readable || !r.Keyed || !r.ours() || r.Source != line.publisher {
			t.Errorf("%s: %+v", line.event, r)
		}
		var body map[string]any
		if err := json.Unmarshal(data, &body); err != nil {
			t.Fatal(err)
		}
		status, reason := body["status"], body["reason"]
		if kind(k) == notificationSent {
			status, reason = body["kind"], body["channel"]
		}
		for _, c := range []struct {
			want any
			got  string
		}{{status, r.Status}, {reason, r.Reason}} {
			if c.want != nil && c.want != c.got {
				t.Errorf("%s: %q, want %q", line.event, c.got, c.want)
			}
		}
		if total, ok := body["total"].(map[string]any); ok && (r.Total.Currency != total["currency"] || float64(r.Total.Amount) != total["amount"]) {
			t.Errorf("%s: total %v, want %v", line.event, r.Total, total)
		}
		for name, damaged := range map[string]fetched{
			"another key":     {key: []byte("0199c0de-0000-7000-8000-000000000002"), value: data},
			"no key":          {value: data},
			"no JSON":         {key: []byte(key), value: []byte("{")},
			"another type":    {key: []byte(key), value: data, headers: []header{{headType, []byte("Another")}}},
			"a newer version": {key: []byte(key), value: data, headers: []header{{headSchemaVersion, []byte("2")}}},
			"no version":      {key: []byte(key), value: data, headers: []header{{headSchemaVersion, []byte("x")}}},
		} {
			if r := damaged.record(kind(k)); r.Readable {
				t.Errorf("%s: readable with %s", line.event, name)
			}
		}
	}
}
