package ui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

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
	m, _ := New([]Source{&desk{}}, "", today)
	m.groups.ask.send(today, queryLimit, nil)
	m.Update(answer{to: &m.groups.ask, n: m.groups.ask.n, took: 2 * time.Second, value: overview{}})
	if m.groups.ask.due(today.Add(9*time.Second)) || !m.groups.ask.due(today.Add(10*time.Second)) {
		t.Error("after an answer of 2 s the next question is not 10 s away")
	}
}

// Whatever a letter holds, nothing of it reaches the terminal but graphic characters.
func TestNothingOfALetterIsObeyed(t *testing.T) {
	evil := "\x1b[2J\x1b]0;owned\a\u009b31m\x00\r\n\t\u202eabc\u200b\u2066\xff\xfe\x7f"
	l := someLetters(1)[0]
	l.Service, l.Group, l.Handler, l.CorrelationID, l.Topic, l.MessageID, l.ErrorType, l.Error, l.Version = evil, evil, evil, evil, evil, evil, evil, evil, evil
	l.Headers, l.Payload, l.Before = map[string]string{evil: evil}, []byte(evil), []byte(`{"a":"`+"\u009b31m\u202e"+`"}`)
	d := &desk{letters: []*deadletter.Letter{l}, verdict: evil}
	d.drive = func(context.Context, deadletter.Redrive, deadletter.Pace, func(deadletter.Tally)) (deadletter.Tally, error) {
		return deadletter.Tally{}, errors.New(evil)
	}
	s := open(t, d)
	check := func(where string) {
		t.Helper()
		text := s.m.View()
		for _, sgr := range []string{styles[bold], styles[reverse], stylesOff} {
			text = strings.ReplaceAll(text, sgr, "")
		}
		for _, r := range text {
			if r != '\n' && !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
				t.Fatalf("%s: %U reaches the terminal", where, r)
			}
		}
	}
	check("groups")
	s.press("enter")
	check("letters")
	s.press("enter")
	check("letter")
	for range 5 {
		s.press("tab")
		check("letter")
	}
	s.press("r")
	s.send(Pasted(evil))
	check("typing")
	s.press("enter", "enter")
	check("redrive")
	s.shows("Stopped:")
}

// Every screen fills the terminal exactly, however small or large it is.
func TestSizes(t *testing.T) {
	d := &desk{letters: someLetters(300), verdict: "fails again: " + strings.Repeat("a very long story ", 20)}
	d.letters[0].OrderID, d.letters[0].Error = "", strings.Repeat("漢字 and 👩‍👩‍👧 ", 30)
	s := open(t, d)
	check := func(where string) {
		t.Helper()
		for _, size := range []Resized{{80, 24}, {40, 12}, {41, 13}, {200, 60}, {80, 12}, {20, 5}, {1, 1}, {132, 24}, {80, 24}} {
			s.send(size)
			lines := strings.Split(s.m.View(), "\n")
			if len(lines) != size.Height {
				t.Errorf("%s at %v: %d lines", where, size, len(lines))
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > size.Width {
					t.Errorf("%s at %v: a line of %d columns: %q", where, size, w, ansi.Strip(l))
				}
			}
			if s.m.at == atRedrive {
				s.send(Key("down"))
			}
			if x, y, typing := s.m.Cursor(); typing && (x >= size.Width || y >= size.Height) {
				t.Errorf("%s at %v: the cursor is at %d, %d", where, size, x, y)
			}
		}
	}
	check("groups")
	s.press("/")
	s.write("sinc:2h " + strings.Repeat("x", 100))
	s.press("enter")
	check("filter")
	s.press("esc", "?")
	check("help")
	s.press("esc", "enter")
	check("letters")
	s.press("end", "enter")
	check("letter")
	s.press("end")
	check("letter, its end")
	s.press("r")
	s.write(strings.Repeat("because ", 30))
	check("reason")
	s.press("enter")
	check("redrive")
	d.drive = func(_ context.Context, r deadletter.Redrive, _ deadletter.Pace, progress func(deadletter.Tally)) (deadletter.Tally, error) {
		progress(r.Tally)
		return r.Tally, errors.New("boom")
	}
	s.press("enter")
	check("redrive, stopped")
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
	s.shows("open letters that meet: since:2h")
	if got := s.m.selection("group:x"); got != "(since:2h) group:x "+openOnly {
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

// A body of megabytes is shown as far as anybody reads.
func TestALargeBody(t *testing.T) {
	for _, body := range []string{`{"text":"` + strings.Repeat("0123456789", 400_000) + `"}`, `[` + strings.Repeat("1,", 1_000_000) + `1]`, strings.Repeat("\x00", 3_000_000)} {
		d := &desk{letters: someLetters(1), verdict: "applied"}
		d.letters[0].Payload = []byte(body)
		s := open(t, d)
		s.press("enter", "enter", "tab", "tab", "tab")
		s.shows("cut here; router dlq show has all of it", "Headers")
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
