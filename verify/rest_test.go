package verify

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestItWaitsForRestAndNotForViolations(t *testing.T) {
	cut := errors.New("cut")
	for name, c := range map[string]struct {
		looks []bool // what each finds: at rest, going on, at rest, …
		fails int    // which of them fails; 0: none
		want  []bool // atRest of the looks that were made
		ok    bool
		took  time.Duration
		// passing are those of the two violations of each look that may pass.
		passing int64
	}{
		"at rest at once":  {looks: []bool{true}, want: []bool{true}, ok: true},
		"at rest later":    {looks: []bool{false, true, false, true, true}, want: []bool{true, false, true, false, true}, ok: true, took: 2 * restPause},
		"never at rest":    {looks: []bool{false, true, false, true, false, true, false, true, false}, want: []bool{true, false, true, false, true, false, true}, took: 3 * restPause},
		"a violation":      {looks: []bool{false, false, false}, want: []bool{true, false, true}},
		"it cannot look":   {looks: []bool{false}, fails: 1, want: []bool{true}},
		"it cannot go on":  {looks: []bool{false, true}, fails: 2, want: []bool{true, false}},
		"it catches up":    {looks: []bool{false, false, false, false, true}, want: []bool{true, false, true, false, true}, passing: 2, ok: true, took: 2 * restPause},
		"not with all":     {looks: []bool{false, false, false}, want: []bool{true, false, true}, passing: 1},
		"a violation only": {looks: []bool{false, true, false, false, false}, want: []bool{true, false, true, false, true}, took: restPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made []bool
				began := time.Now()
				report, err := untilRest(t.Context(), 3*restPause-1, func(atRest bool) (*Report, error) {
					made = append(made, atRest)
					if len(made) == c.fails {
						return nil, cut
					}
					r := &Report{OK: c.looks[len(made)-1], AtRest: atRest}
					if !r.OK {
						r.Violations, r.passing = 2, c.passing
					}
					return r, nil
				})
				if !slices.Equal(made, c.want) || time.Since(began) != c.took {
					t.Errorf("looked %v in %s, want %v in %s", made, time.Since(began), c.want, c.took)
				}
				if c.fails > 0 {
					if !errors.Is(err, cut) {
						t.Errorf("%v, want the error", err)
					}
					return
				}
				if err != nil || report.OK != c.ok || !report.AtRest {
					t.Errorf("%+v, %v; want ok %t, at rest", report, err, c.ok)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := untilRest(ctx, time.Hour, func(atRest bool) (*Report, error) {
		cancel()
		return &Report{OK: !atRest}, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}
