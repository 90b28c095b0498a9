package ui

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"millrace/deadletter"
)

// driver is a redrive that goes on as a test wants it.
type driver struct {
	begun   chan deadletter.Pace
	tallies chan deadletter.Tally
	end     chan error
}

func newDriver(d *desk) *driver {
	r := &driver{make(chan deadletter.Pace, 1), make(chan deadletter.Tally), make(chan error)}
	d.drive = func(ctx context.Context, _ deadletter.Redrive, pace deadletter.Pace, progress func(deadletter.Tally)) (last deadletter.Tally, err error) {
		r.begun <- pace
		for {
			select {
			case last = <-r.tallies:
				progress(last)
			case err := <-r.end:
				return last, err
			case <-ctx.Done():
				return last, context.Cause(ctx)
			}
		}
	}
	return r
}

func begin(t *testing.T, n int) (*screen, *driver) {
	t.Helper()
	d := &desk{letters: someLetters(n)}
	r := newDriver(d)
	s := open(t, d)
	s.press("r")
	s.write("fixed in 1.4.2")
	s.press("enter")
	s.shows("enter begins", "because fixed in 1.4.2")
	s.hides("processed")
	return s, r
}

// From the reason to the last outcome, as somebody sees it.
func TestRedriveOfAGroup(t *testing.T) {
	s, r := begin(t, 300)
	s.golden("redrive-ready")
	s.send(Key("enter"))
	if pace := <-r.begun; pace != (deadletter.Pace{}) {
		t.Errorf("it begins with pace %+v", pace)
	}
	r.tallies <- deadletter.Tally{Letters: 200, Resolved: 61, Asked: 64, Waiting: 75}
	s.until("the progress is shown", func() bool { return strings.Contains(s.text(), "61 of 200") })
	s.golden("redrive-driving")
	s.send(Key("esc")) // stops
	s.settle()
	s.shows("Stopped. What was asked for goes on.", "router dlq redrive --resume 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10")
	s.send(Key("r"))
	<-r.begun
	r.tallies <- deadletter.Tally{Letters: 200, Resolved: 125, Failed: 2, Waiting: 73}
	r.end <- nil
	s.settle()
	s.golden("redrive-failed-again")
	s.send(Key("r"))
	<-r.begun
	r.tallies <- deadletter.Tally{Letters: 200, Resolved: 196, Unchanged: 3, Failed: 2, Held: 1, Gone: 1}
	r.end <- nil
	s.settle()
	s.shows("All that can go has gone", "200 of 200", "3  of them changed nothing", "1  held behind another letter of their order")
	s.press("r") // there is nothing to go on with
	s.press("esc")
	s.shows("LETTERS")
	if s.m.Farewell() != "" {
		t.Errorf("it says %q although nothing is left", s.m.Farewell())
	}
}

// A database in trouble ends neither the program nor, for good, the redrive.
func TestRedriveInTrouble(t *testing.T) {
	s, r := begin(t, 3)
	s.send(Key("enter"))
	<-r.begun
	r.tallies <- deadletter.Tally{Letters: 2, Asked: 1, Waiting: 1}
	r.end <- errors.New("connection refused")
	s.settle()
	s.shows("Stopped: connection refused.", "r goes on with the rest")
	s.send(Key("r"))
	<-r.begun
	s.send(Tick(today.Add(idleHint + 2*time.Second)))
	s.shows("Nothing has come of it for 12s", "--resume 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10 --here")
	r.tallies <- deadletter.Tally{Letters: 2, Resolved: 2}
	r.end <- nil
	s.settle()
	s.shows("All have an outcome")
}

// Leaving in the middle stops asking, waits for that, and says how to go on.
func TestLeavingARedrive(t *testing.T) {
	for _, how := range []any{Key("q"), Key("ctrl+c"), Terminated{}} {
		s, r := begin(t, 300)
		s.send(Key("enter"))
		<-r.begun
		r.tallies <- deadletter.Tally{Letters: 200, Resolved: 61, Asked: 64, Waiting: 75}
		s.send(how)
		if s.m.Done() {
			t.Errorf("%v leaves while the redrive still asks", how)
		}
		s.shows("Stopping the redrive")
		s.until("it is left", s.m.Done)
		if s.m.redrive.stage != stopped {
			t.Errorf("%v leaves before the redrive has stopped", how)
		}
		want := "Redrive 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10: 61 of 200 letters processed, 64 asked for, no outcome yet, 75 not asked for.\n" +
			"Take it up again with: router dlq redrive --resume 0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10\n"
		if got := s.m.Farewell(); got != want {
			t.Errorf("%v: it says %q, want %q", how, got, want)
		}
	}
}

// A database that does not answer cannot keep anybody in.
func TestLeavingDoesNotWaitForEver(t *testing.T) {
	d := &desk{letters: someLetters(3)}
	hung := make(chan struct{})
	defer close(hung)
	begun := make(chan struct{})
	d.drive = func(context.Context, deadletter.Redrive, deadletter.Pace, func(deadletter.Tally)) (deadletter.Tally, error) {
		close(begun)
		<-hung
		return deadletter.Tally{}, nil
	}
	s := open(t, d)
	s.press("r")
	s.write("x")
	s.press("enter")
	s.send(Key("enter"))
	<-begun
	s.send(Key("q"))
	s.send(overdue{})
	if !s.m.Done() {
		t.Error("it is not left although that was waited for long enough")
	}
	s.m.done = false
	s.send(Key("ctrl+c"))
	if !s.m.Done() {
		t.Error("a second one does not leave at once")
	}
}

func TestRedriveOfNothing(t *testing.T) {
	d := &desk{letters: someLetters(3)}
	for _, l := range d.letters {
		l.Status = deadletter.Redriving
	}
	s := open(t, d)
	s.press("r")
	s.write("x")
	s.press("enter")
	s.shows("none of them waits for somebody", "LETTERS")
	d.broken = errors.New("boom")
	s.press("r")
	s.write("x")
	s.press("enter")
	s.shows("Nothing is redriven: boom")
}

// A letter is redriven alone; the letters of a list all at once.
func TestRedriveOfALetter(t *testing.T) {
	d := &desk{letters: someLetters(300)}
	newDriver(d)
	s := open(t, d)
	s.press("enter", "down", "r")
	s.write("x")
	s.press("enter")
	s.shows("1 letter: letter "+d.letters[1].ID, "chosen by id:"+d.letters[1].ID)
	s.press("esc", "R")
	s.write("x")
	s.press("enter")
	s.shows("200 letters: the waiting letters of group")
	s.press("esc", "enter", "r")
	s.write("x")
	s.press("enter")
	s.shows("1 letter: letter " + d.letters[1].ID)
	s.press("esc")
	s.shows("> letter " + short(d.letters[1].ID))
}
