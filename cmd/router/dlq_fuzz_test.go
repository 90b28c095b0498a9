//go:build unix

package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"
)

// jqPatience ends programs that never end, of which there are many.
const jqPatience = 50 * time.Millisecond

// FuzzJQ: a program is refused, or makes JSON of a body, or ends with the context; never anything else of a body that is no JSON.
func FuzzJQ(f *testing.F) {
	for _, program := range []string{".", ".total.amount |= round", "def f: f; f", "[limit(3;repeat(1))]", "input", "env", "$__loc__", "range(1e9)", ".[] , .", `"\(.)"`, "error", "halt", "nan", "infinite", "@base64d", `test("(a+)+$")`} {
		f.Add(program, []byte(`{"total":{"amount":12345678901234567890}}`))
	}
	f.Add(".", []byte(`{}}`))
	f.Add(".", []byte(`{} {}`))
	f.Fuzz(func(t *testing.T, program string, body []byte) {
		if program == "" {
			return
		}
		change, err := (&editOptions{program: program}).change()
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), jqPatience)
		defer cancel()
		got, err := change(ctx, body)
		if err == nil && (!json.Valid(body) || !json.Valid(got)) {
			t.Fatalf("%q made %q of %q", program, got, body)
		}
	})
}

// FuzzDiff: what is shown of two bodies is text for a terminal, one line each, however they differ.
func FuzzDiff(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"a":2}`))
	f.Add([]byte("\x1b[2J"), []byte("\xff\u202e"))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		shown := diff(normal(before), normal(after))
		for _, r := range shown {
			if r == 0x1b || r == 0x202e {
				t.Fatalf("%q shows %q", before, shown)
			}
		}
		if normal(before) == normal(after) && shown != "" {
			t.Fatalf("%q and %q are the same, and differ by %q", before, after, shown)
		}
	})
}
