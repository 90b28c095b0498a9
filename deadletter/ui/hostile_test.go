package ui

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"millrace/deadletter"
)

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
