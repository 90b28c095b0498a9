package outbox

import (
	"testing"
	"time"
)

// Lags that overlap took the time they share once: with some lag in seven seconds of ten, deadlines take a few times as long. What
// is remembered stays small, even where one lag follows the other without a gap.
func TestLagsThatOverlapCountOnce(t *testing.T) {
	const period, day = 17, 24 * 3600
	for flapping, want := range map[int]time.Duration{10: 4 * time.Minute, period: 25 * time.Hour} {
		at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		h := horizon{grace: lagGrace, longest: time.Minute}
		h.recall(at, at, nil)
		h.until = at
		for s := range day {
			at = at.Add(time.Second)
			oldest := at.Add(-1900 * time.Millisecond)
			if s%period < flapping && s%2 == 0 {
				oldest = at.Add(-3900 * time.Millisecond)
			}
			h.note(at, oldest, nil)
		}
		if behind := at.Sub(h.get()); behind > want {
			t.Errorf("%d seconds of %d: the horizon is behind by %v after a day", flapping, period, behind)
		}
		if n := len(h.lags); n > 4*keptLags {
			t.Errorf("%d seconds of %d: %d lags are remembered", flapping, period, n)
		}
	}
}

// Restarts that come more often than the grace do not hold deadlines back for ever, as long as somebody looks between them; after a
// lag each start waits for what is left of the grace.
func TestRestartsWithinTheGrace(t *testing.T) {
	const grace = 15 * time.Minute
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		clear, lagEnded time.Duration // ago
		want            time.Duration
	}{
		"somebody looked a moment ago":          {2 * time.Second, time.Hour, lagGrace},
		"a moment ago, and a while ago was lag": {2 * time.Second, 10 * time.Minute, 5 * time.Minute},
		"nobody looked":                         {time.Minute, time.Hour, grace},
	} {
		h := horizon{grace: grace, longest: time.Minute}
		end := now.Add(-c.lagEnded)
		h.recall(now, now.Add(-c.clear), []span{{end.Add(-time.Second), end}})
		var passed time.Duration
		for ; h.get().IsZero() && passed < 2*grace; passed += time.Second {
			h.note(now.Add(passed), time.Time{}, nil)
		}
		if got := passed - time.Second; got < c.want || got > c.want+time.Second {
			t.Errorf("%s: deadlines fire %v after the start, want %v", name, got, c.want)
		}
	}
}

// A machine that slept, or whose clock was set, goes by the clock on the wall.
func TestTheDatabasesTimeIsThatOfTheWall(t *testing.T) {
	if now := (&clock{}).now(); now != now.Round(0) {
		t.Errorf("%v has a monotonic reading", now)
	}
}
