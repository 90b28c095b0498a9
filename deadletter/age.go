package deadletter

import (
	"fmt"
	"time"
)

// Age is how long before now something was, in one unit, in as little room as that takes: 12s, 5m, 30h, 3d. What is
// yet to come is 0s old.
func Age(now, at time.Time) string {
	switch d := now.Sub(at); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
