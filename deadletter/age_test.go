package deadletter

import (
	"testing"
	"time"
)

func TestAges(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", 47 * time.Hour: "47h", 50 * time.Hour: "2d", 72 * time.Hour: "3d"} {
		if got := Age(now, now.Add(-d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
