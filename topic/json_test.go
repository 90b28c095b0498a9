package topic_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/topic"
)

// A body is read as encoding/json reads it, which is what the first build did and what
// foreign publishers may count on: names in any case, the last of two, invalid UTF-8 replaced.
func TestDecodeFollowsTheStandardLibrary(t *testing.T) {
	bodies := goldens(t)
	check := func(t interface{ Fatalf(string, ...any) }, info topic.Info, typ reflect.Type, body []byte) {
		got, err := info.Decode(body)
		want := reflect.New(typ)
		wantErr := json.Unmarshal(body, want.Interface())
		if wantErr == nil {
			_, wantErr = event.ParseOrderID(string(want.Elem().Interface().(event.Event).Key()))
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: error %v, the standard library's %v", body, err, wantErr)
		}
		if diff := cmp.Diff(want.Elem().Interface(), any(got)); err == nil && diff != "" {
			t.Fatalf("%s (-standard library +ours):\n%s", body, diff)
		}
	}
	for name, body := range map[string]string{
		"another case":     `{"ORDERID":"` + orderID + `","Total":{"AMOUNT":5}}`,
		"a name twice":     `{"orderId":"x","orderId":"` + orderID + `","total":{"amount":1},"total":{"currency":"EUR"}}`,
		"no valid UTF-8":   `{"orderId":"` + orderID + "\",\"customerId\":\"\xff\"}",
		"half a surrogate": `{"orderId":"` + orderID + `","customerId":"\ud800"}`,
		"nulls":            `{"orderId":"` + orderID + `","items":null,"total":null,"customerId":null,"shippingAddress":null}`,
		"a large number":   `{"orderId":"` + orderID + `","total":{"amount":9223372036854775807}}`,
		"an exponent":      `{"orderId":"` + orderID + `","total":{"amount":1e3}}`,
	} {
		t.Run(name, func(t *testing.T) {
			check(t, topic.OrderCreated.Info, reflect.TypeFor[event.OrderCreated](), []byte(body))
		})
	}
	files := slices.Sorted(maps.Keys(bodies))
	infos, types := map[string]topic.Info{}, map[string]reflect.Type{}
	for _, file := range files {
		infos[file] = infoOf(t, file)
		e, err := infos[file].Decode(bodies[file])
		if err != nil {
			t.Fatal(err)
		}
		types[file] = reflect.TypeOf(e)
	}
	rapid.Check(t, func(t *rapid.T) {
		file := rapid.SampledFrom(files).Draw(t, "file")
		body := append([]byte(nil), bodies[file]...)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			body[at] = rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte(`{}[]",:0e-.\n`))).Draw(t, "byte")
		}
		check(t, infos[file], types[file], body)
	})
}
