package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"millrace/deadletter"
)

const (
	// progressWidth is the bar's, in characters.
	progressWidth = 30
	// progressEvery is how often progress is printed where it cannot be overwritten.
	progressEvery = 5 * time.Second
)

// progress shows how far a redrive has come: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	begin time.Time
	first int64 // were done when it began
	last  time.Time
	shown bool
}

func newProgress(w io.Writer) *progress {
	now := time.Now()
	return &progress{w: w, live: interactive(), begin: now, last: now, first: -1}
}

func (p *progress) show(t deadletter.Tally) {
	done := t.Resolved + t.Failed + t.Held + t.Gone
	if p.first < 0 {
		p.first = done
	}
	if !p.live && time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	full := int(progressWidth * done / max(t.Letters, 1))
	rate := float64(done-p.first) / max(time.Since(p.begin).Seconds(), 1)
	line := fmt.Sprintf("[%s%s] %d/%d  %.0f/s", strings.Repeat("=", full), strings.Repeat(" ", progressWidth-full), done, t.Letters, rate)
	if t.Failed > 0 {
		line += fmt.Sprintf("  %d failed again", t.Failed)
	}
	if p.live {
		fmt.Fprintf(p.w, "\r%s\x1b[K", line)
		p.shown = true
		return
	}
	fmt.Fprintln(p.w, line)
}

// say writes a line of its own.
func (p *progress) say(text string) {
	p.end()
	fmt.Fprintln(p.w, text)
}

// end leaves the bar behind.
func (p *progress) end() {
	if p.shown {
		fmt.Fprintln(p.w)
		p.shown = false
	}
}

const (
	// unattendedNotice is when somebody who waits is told that nobody works: redrivers look twice a second.
	unattendedNotice = 5 * time.Second
	// unattendedLimit is when waiting ends: long enough for a router that is just being started.
	unattendedLimit = time.Minute
	// attendanceEvery is how often it is looked at.
	attendanceEvery = time.Second
)

// errUnattended means: no process redrives the services' letters.
var errUnattended = errors.New("no router runs the service: what was asked for stays so, and goes on when one does")

// attendance finds out that nobody is at work.
type attendance struct {
	desk     *deadletter.Desk
	services []string
	cancel   context.CancelCauseFunc
	tell     func(string)
	begin    time.Time
	told     bool
	last     time.Time
}

func (a *attendance) look(ctx context.Context, t deadletter.Tally) {
	if t.Asked == 0 || len(a.services) == 0 || time.Since(a.last) < attendanceEvery {
		return
	}
	a.last = time.Now()
	due, err := a.desk.Due(ctx, a.services...)
	idle := min(due.Idle, time.Since(a.begin)) // nobody may have been there before
	switch {
	case err != nil: // whoever drives it finds out as well, and says so
	case idle > unattendedLimit:
		a.cancel(errUnattended)
	case idle > unattendedNotice && !a.told:
		a.told = true
		a.tell(fmt.Sprintf("Nobody is at work: no router that runs %s claims these letters. Start one, or stop this (Ctrl-C) and resume it with --here.", strings.Join(a.services, " or ")))
	}
}
