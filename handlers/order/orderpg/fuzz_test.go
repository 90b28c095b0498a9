package orderpg

import (
	"testing"
	"time"
)

// FuzzCursor: a cursor is one that a page was left at, or is refused.
func FuzzCursor(f *testing.F) {
	f.Add(encodeCursor(time.UnixMicro(1), "0199c0de-0000-7000-8000-000000000001"))
	for _, seed := range []string{"", "!", "MQ", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5IHg"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		at, id, err := decodeCursor(cursor)
		if err != nil {
			return
		}
		again, sameID, err := decodeCursor(encodeCursor(at, id))
		if err != nil || !again.Equal(at) || sameID != id || at.Year() > 9999 || at.Year() < 1970 {
			t.Errorf("%q is %s %s, and then %s %s, %v", cursor, at, id, again, sameID, err)
		}
	})
}
