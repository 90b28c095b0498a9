package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// only demands violations of one invariant, and none of another one but those that may come with it.
func only(must string, may ...string) func(*Result) []string {
	return func(r *Result) (why []string) {
		violated := r.Verdict.violated()
		for _, id := range slices.Sorted(maps.Keys(violated)) {
			if id != must && !slices.Contains(may, id) {
				why = append(why, fmt.Sprintf("%d violations of %s, which records that are gone do not explain", violated[id], id))
			}
		}
		if violated[must] == 0 {
			why = append(why, fmt.Sprintf("router verify has not noticed it: there is no violation of %s", must))
		}
		return why
	}
}

// removedUnread demands that the checker counts the very records that a fault has removed, by the offsets of whoever had
// not read them, and finds nothing else.
func removedUnread(r *Result) []string {
	why := only("I8")(r)
	removed, counted := int64(0), int64(0)
	for _, b := range r.Faults {
		removed += b.Hits
	}
	for _, i := range r.Verdict.Invariants {
		for _, e := range i.Examples {
			var n int64
			var who string
			if _, err := fmt.Sscanf(e.Reason, "%d records were removed before %s had read them", &n, &who); err != nil {
				why = append(why, fmt.Sprintf("%s: %s %s", i.ID, e.Order, e.Reason))
			}
			counted += n
		}
	}
	if counted != removed {
		why = append(why, fmt.Sprintf("router verify counts %d records that were removed unread, and it was %d", counted, removed))
	}
	return why
}

// untilQuiet waits until everything that can still be heard is heard.
func untilQuiet(ctx context.Context, y *system, say func(string, ...any)) error {
	return errors.Join(y.awaitReady(ctx), y.awaitQuiet(ctx, say, quietAll))
}

func restartRouters(ctx context.Context, y *system, _ func(string, ...any)) error {
	var err error
	for _, r := range y.replicas {
		r.kill() // one that cannot publish may not be able to end well
		err = errors.Join(err, r.start())
	}
	return errors.Join(err, y.awaitReady(ctx))
}
