package deadletter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/outbox"
)

// lostAt is a message of topic a, b, c … at an offset; its broker's clock says so many seconds.
func lostAt(text string, second int) *Letter {
	l := &Letter{ID: text, Topic: text[:1], Status: Parked, PublishedAt: time.Unix(int64(second), 0), Headers: map[string]string{}}
	if _, err := fmt.Sscan(text[1:], &l.Offset); err != nil {
		panic(err)
	}
	return l
}

func failed(l *Letter) *Letter {
	l.Status = New
	return l
}

func ids(list []*Letter) string {
	var names []string
	for _, l := range list {
		names = append(names, l.ID)
	}
	return strings.Join(names, " ")
}

func TestWhatWasLostIsArranged(t *testing.T) {
	versioned := func(text string, second int, version string) *Letter {
		l := lostAt(text, second)
		l.Headers[outbox.HeaderSource], l.Headers[outbox.HeaderOrderVersion] = "s", version
		return l
	}
	for _, c := range []struct {
		what string
		lost []*Letter
		want string
	}{
		{"topics by the clock", []*Letter{lostAt("b1", 2), lostAt("a5", 1), lostAt("a6", 3)}, "a5 b1 a6"},
		{"a topic in its order, whatever the clock says", []*Letter{lostAt("a6", 1), lostAt("a5", 2), lostAt("b1", 3)}, "a5 a6 b1"},
		{"the letter first", []*Letter{lostAt("b1", 1), failed(lostAt("a5", 9))}, "a5 b1"},
		{"what lies before it in its topic is before it", []*Letter{lostAt("a4", 8), lostAt("b1", 1), failed(lostAt("a5", 9))}, "a4 a5 b1"},
		{"several letters", []*Letter{failed(lostAt("b7", 5)), lostAt("b6", 4), failed(lostAt("a5", 3)), lostAt("a6", 1)}, "a5 b6 b7 a6"},
		{"one publisher's versions", []*Letter{versioned("a1", 1, "10"), versioned("b1", 1, "9")}, "b1 a1"},
		{"nothing", nil, ""},
	} {
		for range 20 { // in whatever order they were found
			rand.Shuffle(len(c.lost), func(i, j int) { c.lost[i], c.lost[j] = c.lost[j], c.lost[i] })
			if got := ids(arrange(c.lost)); got != c.want {
				t.Errorf("%s: %s, want %s", c.what, got, c.want)
				break
			}
		}
	}
}

func TestWhatWasLostIsMergedWithWhatIsThere(t *testing.T) {
	for _, c := range []struct{ open, lost, want, moved string }{
		{"", "a1 b1", "a1 b1", ""},
		{"a1 b1", "", "a1 b1", ""},
		{"a1 b1", "a2 c1", "a1 b1 a2 c1", ""},
		{"a2 b1", "a1", "a1 a2 b1", "a1 a2 b1"},
		{"b1 a2 b2", "a1 a3 c1", "b1 a1 a2 b2 a3 c1", "a1 a2 b2 a3 c1"},
		{"b9 a9", "b8 a8", "b8 b9 a8 a9", "b8 b9 a8 a9"},
	} {
		parse := func(text string) (list []*Letter) {
			for _, name := range strings.Fields(text) {
				list = append(list, lostAt(name, 0))
			}
			return list
		}
		order, moved := merge(parse(c.open), parse(c.lost))
		if ids(order) != c.want || strings.Join(moved, " ") != c.moved {
			t.Errorf("%q and %q: %s, moved %v; want %s, moved %s", c.open, c.lost, ids(order), moved, c.want, c.moved)
		}
	}
}

// However it is torn apart, a lane keeps the order of each topic.
func TestMergingKeepsTheOrderOfEachTopic(t *testing.T) {
	for range 500 {
		var open, lost []*Letter
		for _, topic := range []string{"a", "b", "c"} {
			for offset := range rand.N(6) {
				l := lostAt(fmt.Sprint(topic, offset), rand.N(5))
				if rand.N(4) == 0 {
					failed(l)
				}
				if rand.N(2) == 0 {
					open = append(open, l)
				} else {
					lost = append(lost, l)
				}
			}
		}
		order, moved := merge(arrange(open), arrange(lost))
		if len(order) != len(open)+len(lost) {
			t.Fatalf("%d of %d", len(order), len(open)+len(lost))
		}
		last := map[string]int64{}
		for _, l := range order {
			if before, ok := last[l.Topic]; ok && l.Offset < before {
				t.Fatalf("%s is behind offset %d", l.ID, before)
			}
			last[l.Topic] = l.Offset
		}
		for i, l := range order { // what keeps its place is what is open before anything lost
			if !slices.Contains(moved, l.ID) && len(moved) > 0 && !slices.Contains(open, l) {
				t.Fatalf("%s at %d is lost and not moved: %s", l.ID, i, ids(order))
			}
		}
	}
}
