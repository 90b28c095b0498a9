package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// only demands violations of one invariant, and none of another one but those that may come with it.
func only(must string, may ...string) func(*Verdict) []string {
	return func(v *Verdict) (why []string) {
		violated := v.violated()
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

func restartRouters(ctx context.Context, y *system, _ func(string, ...any)) error {
	var err error
	for _, r := range y.replicas {
		r.kill() // one that cannot publish may not be able to end well
		err = errors.Join(err, r.start())
	}
	return errors.Join(err, y.awaitReady(ctx))
}
