package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/deadletter"
)

// Each screen of 80×24, as somebody sees it.
func TestScreens(t *testing.T) {
	d := &desk{letters: someLetters(300), verdict: "applied: pending → confirmed; says ecommerce.shipment.created"}
	s := open(t, d)
	s.golden("groups")
	s.press("enter", "down", "down")
	s.golden("letters")
	s.press("enter")
	s.golden("letter")
	s.press("tab", "tab")
	s.golden("letter-body")
	s.press("d")
	s.write("test order")
	s.golden("drop")
	s.press("esc", "?")
	s.golden("help")
	s.press("esc", "esc", "/")
	s.write("service:shipping sinc:2h")
	s.press("enter")
	s.golden("filter-wrong")
}

func TestMoving(t *testing.T) {
	s := open(t, &desk{letters: someLetters(250)})
	s.press("enter")
	for _, step := range []struct {
		key string
		at  int
	}{{"down", 1}, {"j", 2}, {"up", 1}, {"k", 0}, {"up", 0}, {"pgdown", 14}, {"space", 28}, {"pgup", 14}, {"home", 0}, {"G", 123}, {"G", 166}, {"down", 166}, {"g", 0}} {
		s.press(step.key)
		if s.m.letters.at != step.at {
			t.Errorf("%s leads to row %d, want %d:\n%s", step.key, s.m.letters.at, step.at, s.text())
		}
		s.shows("> " + short(s.m.letters.rows[step.at].id))
	}
}

// Thousands of letters are read a page at a time, each once, the youngest first.
func TestThousandsOfLetters(t *testing.T) {
	d := &desk{letters: someLetters(9000)}
	s := open(t, d)
	s.press("enter")
	if len(s.m.letters.rows) > 200 {
		t.Errorf("%d letters were read at once", len(s.m.letters.rows))
	}
	for s.m.letters.more {
		s.press("end")
	}
	var want, got []string
	for _, l := range d.letters {
		if l.Fingerprint() == s.m.letters.of.Fingerprint {
			want = append(want, l.ID)
		}
	}
	for _, r := range s.m.letters.rows {
		got = append(got, r.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d letters were read, want the %d there are, in order", len(got), len(want))
	}
	if most := slices.Max(d.limits); most > 200 {
		t.Errorf("a page of %d was asked for", most)
	}
}

// The cursor stands where the next character will be.
func TestTyping(t *testing.T) {
	s := open(t, &desk{letters: someLetters(3)})
	s.press("/")
	s.write("service:shipping")
	s.press("home", "right", "delete", "end", "backspace", "ctrl+w")
	s.write("since:2h or error~x")
	s.press("left", "left")
	s.send(Pasted("a\nb\x1b[31m"))
	if got := string(s.m.input.text); got != "since:2h or errora b[31m~x" {
		t.Errorf("typed is %q", got)
	}
	x, y, typing := s.m.Cursor()
	lines := strings.Split(s.text(), "\n")
	if !typing || !strings.HasPrefix(lines[y][x:], "~x") {
		t.Errorf("the cursor is at %d, %d (%v) of\n%s", x, y, typing, s.text())
	}
	s.press("q") // is a letter
	s.shows("[31mq~x")
	s.press("esc")
	s.hides("since:2h")
}

func TestFilterAndSettledLetters(t *testing.T) {
	d := &desk{letters: someLetters(30)}
	s := open(t, d)
	s.press("/")
	s.write("since:2h")
	s.press("enter")
	s.shows("waiting letters that meet: since:2h")
	s.press("/", "ctrl+u")
	s.write("service:paymnt")
	s.press("enter")
	s.shows(`no service is "paymnt"; did you mean`)
	s.press("esc")
	if got := s.m.selection("group:x"); got != "(since:2h) group:x "+waitingOnly {
		t.Errorf("the selection is %s", got)
	}
	for _, l := range d.letters {
		l.Status = deadletter.Resolved
	}
	s.wait(refreshEvery)
	s.shows("No letter meets the filter")
	s.press("a")
	s.shows("settled ones too", "shipping")
	s.press("enter", "enter")
	s.shows("status      resolved", "none: it is settled")
}

func TestDroppingAndRestoring(t *testing.T) {
	d := &desk{letters: someLetters(3)}
	s := open(t, d)
	s.press("enter", "enter", "d", "enter")
	s.shows("A reason is needed")
	s.write("test order")
	s.press("enter")
	id := d.letters[0].ID
	s.shows("Letter "+short(id)+" is dropped", "status      dropped")
	s.press("u")
	s.write("oh no")
	s.press("enter")
	s.shows("is restored", "status      new")
	if want := []string{"dropped " + id + ": test order", "new " + id + ": oh no"}; !slices.Equal(d.done, want) {
		t.Errorf("what was decided is %q, want %q", d.done, want)
	}
	d.refused = fmt.Errorf("letter x: %w", deadletter.ErrProcessed)
	s.press("d")
	s.write("x")
	s.press("enter")
	s.shows("letter x: its message had been processed already")
	s.hides("Nothing was changed")
	s.press("n")
	s.shows("letter " + short(d.letters[1].ID))
	s.press("n", "p", "p")
	s.shows("no letter further on")
}

// The foot offers what can be done to a letter as it is, and a key that cannot be says so before it asks for anything.
func TestKeysFollowTheStatus(t *testing.T) {
	d := &desk{letters: someLetters(3)}
	s := open(t, d)
	s.press("a", "enter", "enter")
	for status, test := range map[deadletter.Status]struct {
		offered, said string
		keys          []string // that are refused
	}{
		deadletter.New:       {"r redrive  d drop", "it can be redriven (r)", []string{"u"}},
		deadletter.Retrying:  {"r redrive  d drop", "it can be redriven (r)", []string{"u"}},
		deadletter.Redriving: {"d drop", "it is on its way", []string{"r", "u"}},
		deadletter.Dropped:   {"u restore", "restore it (u) first", []string{"r", "d"}},
		deadletter.Resolved:  {"esc back  n/p next", "nothing is left to do", []string{"r", "d", "u"}},
	} {
		for _, l := range d.letters {
			l.Status = status
		}
		for _, where := range []string{"one letter", "the list"} {
			s.wait(refreshEvery)
			foot := s.m.keys()
			if where == "the list" {
				test.offered = strings.TrimSuffix(test.offered, "  n/p next")
			}
			if !strings.Contains(foot, test.offered) || strings.Contains(foot, "r redrive") != (test.offered == "r redrive  d drop") || strings.Contains(foot, "u restore") != (status == deadletter.Dropped) {
				t.Errorf("%s, %s: the foot is %q, want %q", where, status, foot, test.offered)
			}
			for _, k := range test.keys {
				s.press(k)
				if s.m.input != nil {
					t.Fatalf("%s, %s: a reason is asked for, for %s", where, status, k)
				}
				s.shows("is "+string(status)+": ", test.said)
			}
			if where == "one letter" {
				s.press("esc")
			} else {
				s.press("enter")
			}
		}
	}
}

// A filter that asks for a status gets the letters that have it, settled ones included.
func TestAFilterForAStatus(t *testing.T) {
	s := open(t, &desk{letters: someLetters(3)})
	s.press("/")
	s.write("status:dropped")
	s.press("enter")
	s.shows("letters that meet: status:dropped")
	if got := s.m.selection("group:x"); got != "(status:dropped) group:x" {
		t.Errorf("the selection is %s", got)
	}
}

func TestPausedServices(t *testing.T) {
	d := &desk{letters: someLetters(9), pauses: []deadletter.Pause{{Service: "payment", Since: today.Add(-time.Hour)}, {Service: "shipping", Since: today}}}
	s := open(t, d)
	s.shows("! Paused 1h ago: payment, shipping (mend it, then: router dlq resume payment)")
	d.pauses = nil
	s.wait(refreshEvery)
	s.hides("Paused")
}
