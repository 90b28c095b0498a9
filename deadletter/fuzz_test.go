package deadletter

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzMergePatch: of two JSON documents it makes one, and of anything else nothing.
func FuzzMergePatch(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":"b"}`, `{"a":null}`}, {`{"a":[{"b":"c"}]}`, `{"a":[1]}`}, {`{"n":12345678901234567890}`, `{"m":0.10}`}, {`{}}`, `{}`}, {`{}`, `{}]`}, {`{"a":1,"a":2}`, `{"a":{}}`},
		{`"\ud800"`, `{"\u0000":"\u2028"}`}, {`1e999`, `-0`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		got, err := MergePatch(document, patch)
		if valid := json.Valid(document) && json.Valid(patch); valid != (err == nil) {
			t.Fatalf("%q with %q: %q, %v", document, patch, got, err)
		}
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q with %q is no JSON: %q", document, patch, got)
		}
		again, err := MergePatch(got, patch)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q with %q is %q, and once more it is %q, %v", document, patch, got, again, err)
		}
	})
}

// FuzzLine: a line of an export is a letter or is refused; what is a letter, is written as the same one again.
func FuzzLine(f *testing.F) {
	id := "0199c0de-0000-7000-8000-000000000001"
	l := &Letter{ID: NewID("order-service", id), Status: New, Service: "order", Group: "order-service", Handler: "order/t", MessageID: id, Topic: "t", OrderID: id, Key: []byte(id),
		Headers: map[string]string{"ce_id": id, "x": "\xff"}, Payload: []byte(`{"a":1}`)}
	good, err := json.Marshal(NewLine(l))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, []byte(`{}`), []byte(`{"payload":1,"payloadText":"x"}`), []byte(`{"keyBase64":"/w=="}`), []byte(`{"headers":{"a_base64":"%"}}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var line Line
		if json.Unmarshal(text, &line) != nil {
			return
		}
		l, err := line.Letter()
		if err != nil {
			return
		}
		var again Line
		data, err := json.Marshal(NewLine(l))
		if err != nil {
			t.Fatalf("%s is read, and cannot be written: %v", text, err)
		}
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatalf("%s is written as %s, which cannot be read: %v", text, data, err)
		}
		reread, err := again.Letter()
		if err != nil {
			t.Fatalf("%s is written as %s, which is refused: %v", text, data, err)
		}
		if !bytes.Equal(reread.Payload, l.Payload) || !bytes.Equal(reread.Key, l.Key) || reread.ID != l.ID || reread.OrderID != l.OrderID {
			t.Fatalf("%s became %s", text, data)
		}
	})
}

// FuzzFingerprint: one line of twelve digits, whatever the error says.
func FuzzFingerprint(f *testing.F) {
	for _, seed := range []string{"", "boom 17", "order 0199c0de-0000-7000-8000-000000000001", "\x00\xff", "dial tcp 127.0.0.1:5432: refused"} {
		f.Add("order/t", "*errors.errorString", seed)
	}
	f.Fuzz(func(t *testing.T, handler, kind, text string) {
		if got := Fingerprint(handler, kind, text); len(got) != len(Fingerprint("", "", "")) || got != Fingerprint(handler, kind, text) {
			t.Errorf("%q %q %q: %q", handler, kind, text, got)
		}
	})
}
