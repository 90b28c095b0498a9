package ui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/deadletter"
)

// What is on the screen is read anew, and what was chosen stays chosen, on the same line; what is being typed stays.
func TestRefreshing(t *testing.T) {
	d := &desk{letters: someLetters(300)}
	s := open(t, d)
	s.press("enter", "down", "down", "down", "r")
	s.write("because of 47")
	was, _ := s.m.letters.chosen()
	lineOf := func() int {
		return slices.IndexFunc(strings.Split(s.text(), "\n"), func(l string) bool { return strings.HasPrefix(l, "> "+short(was.id)) })
	}
	line := lineOf()
	younger := someLetters(305)
	for i, l := range younger[:5] {
		l.ID, l.Error, l.ErrorType = fmt.Sprintf("aaaaaaa%d-0000-5000-8000-000000000000", i), d.letters[0].Error, d.letters[0].ErrorType
	}
	d.letters = append(younger[:5], d.letters...)
	d.letters[8].Attempts = 77
	s.wait(refreshEvery)
	if now, _ := s.m.letters.chosen(); now.id != was.id || lineOf() != line {
		t.Errorf("chosen is %s on line %d, was %s on line %d:\n%s", now.id, lineOf(), was.id, line, s.text())
	}
	s.shows("> because of 47")
	s.press("esc", "g")
	s.shows("> aaaaaaa0", "77")
	// The chosen letter is settled by somebody else: the next older one is chosen.
	s.press("down")
	d.letters[1].Status = deadletter.Resolved
	next := d.letters[2].ID
	s.wait(refreshEvery)
	if now, _ := s.m.letters.chosen(); now.id != next {
		t.Errorf("chosen is %s, want the next older one, %s", now.id, next)
	}
	s.press("esc")
	s.wait(refreshEvery)
	s.press("down")
	small, _ := s.m.groups.chosen()
	for _, l := range d.letters { // now its group is the largest
		if l.Fingerprint() != small.Fingerprint {
			l.Status = deadletter.Dropped
		}
	}
	s.wait(refreshEvery)
	if now, _ := s.m.groups.chosen(); now.Fingerprint != small.Fingerprint || s.m.groups.at != 0 {
		t.Errorf("group %s is chosen on row %d, was %s", now.Fingerprint, s.m.groups.at, small.Fingerprint)
	}
}

// A database in trouble is told of, and asked again; nothing that was read goes away.
func TestTrouble(t *testing.T) {
	d := &desk{letters: someLetters(30), verdict: "applied"}
	s := open(t, d)
	for _, c := range []struct{ keys, types []string }{{nil, []string{"/"}}, {[]string{"enter"}, []string{"/"}}, {[]string{"enter"}, []string{"d"}}} {
		s.press(c.keys...)
		before := s.text()
		d.broken = errors.New("dial tcp 127.0.0.1:5432: connection refused\x1b[2J")
		s.wait(refreshEvery)
		s.shows("Still trying: dial tcp 127.0.0.1:5432: connection refused", strings.TrimSpace(before[60:80])) // "as of", and when
		s.press(c.types...)
		s.shows("Still trying")
		s.press("esc")
		if rows := strings.Split(before, "\n"); !strings.Contains(s.text(), rows[4]) {
			t.Errorf("what was read is gone:\n%s", s.text())
		}
		s.wait(time.Second)
		s.shows("Still trying")
		d.broken = nil
		s.wait(refreshEvery)
		s.hides("Still trying")
	}
	d.broken = errors.New("boom")
	s.press("d")
	s.write("why not")
	s.press("enter")
	s.shows("Nothing was changed: boom")
	d.broken = nil
	s.wait(noteFor + time.Second)
	s.hides("Nothing was changed")
	if s.m.Done() {
		t.Error("trouble ended the program")
	}
}

// A slow answer holds up neither the keys nor what is typed; one that is no longer wanted is given up, and counts for nothing.
func TestSlowness(t *testing.T) {
	d := &desk{letters: someLetters(30)}
	s := open(t, d)
	asked, given, late := make(chan struct{}), make(chan error, 1), make(chan struct{})
	d.groups = func(ctx context.Context, list []deadletter.Group) ([]deadletter.Group, error) {
		close(asked)
		<-ctx.Done()
		given <- ctx.Err()
		<-late
		return list[:1], nil
	}
	s.send(Tick(today.Add(refreshEvery)))
	<-asked
	s.send(Tick(today.Add(refreshEvery + 4*time.Second)))
	s.shows("asked 4s ago")
	s.send(Key("down"))
	s.send(Key("/"))
	d.groups = nil
	s.send(Key("x"))
	s.send(Key("enter"))
	if err := <-given; err != context.Canceled {
		t.Errorf("the question ended with %v", err)
	}
	s.until("the new answer is there", func() bool { return s.m.groups.read })
	close(late)
	s.settle()
	if n := len(s.m.groups.list); n != 2 {
		t.Errorf("%d groups are shown: the answer that nobody wanted any more came through", n)
	}
}

// Answers that take long are asked for less often.
func TestRestsAfterSlowAnswers(t *testing.T) {
	m, _ := New([]Source{&desk{}}, nil, "", today)
	m.groups.ask.send(today, queryLimit, nil)
	m.Update(answer{to: &m.groups.ask, n: m.groups.ask.n, took: 2 * time.Second, value: overview{}})
	if m.groups.ask.due(today.Add(9*time.Second)) || !m.groups.ask.due(today.Add(10*time.Second)) {
		t.Error("after an answer of 2 s the next question is not 10 s away")
	}
}

// A letter that was only waiting to be tried again is gone once it was processed.
func TestALetterThatIsGone(t *testing.T) {
	d := &desk{letters: someLetters(9)}
	s := open(t, d)
	s.press("enter", "enter")
	gone := d.letters[0].ID
	d.letters = d.letters[1:]
	s.wait(refreshEvery)
	s.shows("Letter "+short(gone)+" is gone", "LETTER ", "> "+short(d.letters[0].ID))
	s.hides("Still trying")
}

// One of several databases in trouble: the others go on, and what it said last stays.
func TestSeveralDatabases(t *testing.T) {
	one, two := &desk{letters: someLetters(30)}, &desk{letters: someLetters(9), verdict: "applied"}
	for _, l := range two.letters {
		l.Service = "payment"
	}
	s := open(t, one, two)
	s.shows("> "+"     20", "     10", "      6", "      3")
	s.press("end", "enter", "enter")
	s.shows("service     payment")
	s.press("esc", "esc")
	two.broken = errors.New("the second is down")
	one.letters = one.letters[:2]
	s.wait(refreshEvery)
	s.shows("Still trying: the second is down", "      2 ", "      6", "      3")
	s.hides("     20")
	if g, _ := s.m.groups.chosen(); g.source != 1 {
		t.Errorf("a group of database %d is chosen", g.source)
	}
	one.broken = two.broken
	s.wait(refreshEvery)
	s.shows("      2 ", "      6", "      3")
	s.m.Tell("a database\nwas left out")
	one.broken, two.broken = nil, nil
	s.wait(refreshEvery)
	s.shows("a database was left out")
}
