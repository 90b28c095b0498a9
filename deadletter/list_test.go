package deadletter

import "testing"

func TestTrends(t *testing.T) {
	for want, g := range map[string]Group{
		"quiet": {}, "up 3:1": {LastHour: 3, HourBefore: 1}, "down 0:4": {HourBefore: 4}, "flat 2:2": {LastHour: 2, HourBefore: 2},
	} {
		if got := g.Trend(); got != want {
			t.Errorf("%+v: %s, want %s", g, got, want)
		}
	}
}
