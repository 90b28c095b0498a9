package exit

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lib/pq"
)

func TestScriptsCanRelyOnTheCode(t *testing.T) {
	cancelled := fmt.Errorf("read: %w", context.Canceled)
	for _, c := range []struct {
		what        string
		err         error
		interrupted bool
		want        int
	}{
		{"all is well", nil, false, 0},
		{"it ended well before the signal was heard", nil, true, 0},
		{"it failed", errors.New("no"), false, Failed},
		{"it failed while it was interrupted", errors.New("no"), true, Failed},
		{"something else was cancelled", cancelled, false, Failed},
		{"it was interrupted", cancelled, true, Interrupted},
		{"it was interrupted in the database", fmt.Errorf("migrate: %w", errors.Join(&pq.Error{Code: "57014"}, errors.New("tidy"))), true, Interrupted},
		{"the database refused while it was interrupted", &pq.Error{Code: "57P01"}, true, Failed},
		{"it was typed wrongly", fmt.Errorf("list: %w", Misuse(errors.New("no such flag"))), false, Misused},
	} {
		if got := Code(c.err, c.interrupted); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}
