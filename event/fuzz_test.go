package event_test

import (
	"testing"

	"github.com/google/uuid"

	"millrace/event"
)

// FuzzParseOrderID: what a record's key may be is exactly what the rest of the world calls a UUID in canonical form.
func FuzzParseOrderID(f *testing.F) {
	for _, seed := range []string{string(id), "", "0199C0DE-0000-7000-8000-000000000001", "{0199c0de-0000-7000-8000-000000000001}", "0199c0de-0000-7000-8000-00000000000\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := event.ParseOrderID(text)
		parsed, otherErr := uuid.Parse(text)
		canonical := otherErr == nil && parsed.String() == text
		if (err == nil) != canonical || err == nil && string(got) != text || err != nil && got != "" {
			t.Errorf("%q: %q, %v; canonical: %v", text, got, err, canonical)
		}
	})
}
