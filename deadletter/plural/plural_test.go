package plural_test

import (
	"testing"

	"millrace/deadletter/plural"
)

func TestOneIsNotMany(t *testing.T) {
	for n, want := range map[int64]string{0: "0 letters wait", 1: "1 letter waits", 2: "2 letters wait", 21: "21 letters wait", -1: "-1 letters wait"} {
		if got := plural.Of(n, "letter waits", "letters wait"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
