package ui

import (
	"context"
	"time"

	"millrace/deadletter"
)

// stage is how far a redrive has come.
type stage int

const (
	freezing stage = iota
	ready
	driving
	stopped // it is over, or it can go on
)

// redrive is one that fills the screen: first what it would be, then how far it has come.
type redrive struct {
	source  int
	what    string
	from    place // where it was begun
	stage   stage
	frozen  deadletter.Redrive
	tally   deadletter.Tally
	changed time.Time // when the tally last changed
	err     error     // why it ended before its end
	ask     request
	top     int // the first line shown

	stop     chan struct{} // closed when somebody wants it to stop
	stopping bool
	updates  chan deadletter.Tally
}

type (
	// frozen is a selection that was noted.
	frozen struct {
		redrive deadletter.Redrive
		err     error
	}
	// progress is how far a redrive has come.
	progress struct {
		of    *redrive
		tally deadletter.Tally
	}
	// driven is a redrive that came to an end, or was stopped.
	driven struct {
		of    *redrive
		tally deadletter.Tally
		err   error
	}
)

// askRedrive asks for the reason, and then notes which letters it would be.
func (m *Model) askRedrive(source int, what, selection string) {
	m.askReason("Redrive "+what+". Why?", func(reason string) []Command {
		condition, err := m.parse(selection)
		r := &redrive{source: source, what: what, from: m.at}
		m.redrive, m.at = r, atRedrive
		return []Command{r.ask.send(m.now, decisionLimit, func(ctx context.Context) (any, error) {
			if err != nil {
				return frozen{err: err}, nil
			}
			noted, err := m.sources[source].Freeze(ctx, condition, selection, reason)
			return frozen{noted, err}, nil
		})}
	})
}

func (m *Model) frozen(f frozen) {
	r := m.redrive
	switch {
	case f.err != nil:
		m.endRedrive()
		m.say("Nothing is redriven: %v", f.err)
	case f.redrive.Tally.Letters == 0:
		m.endRedrive()
		m.say("Nothing is redriven: none of them waits for somebody (new or retrying).")
	default:
		r.frozen, r.tally, r.stage = f.redrive, f.redrive.Tally, ready
	}
}

func (m *Model) endRedrive() {
	m.redrive.ask.stop()
	m.at, m.redrive = m.redrive.from, nil
}

func (m *Model) redriveKey(k string) []Command {
	r := m.redrive
	r.top = scrolled(k, r.top, len(m.redriveLines()), m.bodyHeight())
	switch {
	case r.stage == driving:
		if (k == "s" || k == "esc") && !r.stopping {
			r.halt()
		}
	case k == "esc":
		m.endRedrive()
	case r.stage == ready && k == "enter", r.canGoOn() && k == "r":
		return m.drive()
	}
	return nil
}

// canGoOn tells that it has stopped before its end.
func (r *redrive) canGoOn() bool { return r.stage == stopped && r.tally.Waiting+r.tally.Asked > 0 }

// halt has no more letters asked for.
func (r *redrive) halt() {
	r.stopping = true
	close(r.stop)
}

// drive begins, or goes on; it stops at the first letter that fails again from now on.
func (m *Model) drive() []Command {
	r := m.redrive
	r.stage, r.err, r.stopping, r.changed = driving, nil, false, m.now
	r.stop, r.updates = make(chan struct{}), make(chan deadletter.Tally, 1)
	source, noted, stop, updates := m.sources[r.source], r.frozen, r.stop, r.updates
	run := func(ctx context.Context) any {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		tally, err := source.Drive(ctx, noted, deadletter.Pace{}, func(t deadletter.Tally) {
			select { // only the last one counts
			case <-updates:
			default:
			}
			updates <- t
		})
		close(updates)
		return driven{r, tally, err}
	}
	return []Command{run, r.next()}
}

// next waits for how far it has come.
func (r *redrive) next() Command {
	updates := r.updates
	return func(context.Context) any {
		if t, more := <-updates; more {
			return progress{r, t}
		}
		return nil
	}
}

func (m *Model) progressed(p progress) []Command {
	if p.of.tally != p.tally {
		p.of.tally, p.of.changed = p.tally, m.now
	}
	if p.of.stage != driving {
		return nil
	}
	return []Command{p.of.next()}
}

func (m *Model) drivenTo(d driven) {
	r := d.of
	r.stage, r.err = stopped, d.err
	if d.tally.Letters > 0 { // it is empty where even the first look failed
		r.tally = d.tally
	}
	if m.leaving {
		m.done = true
	}
}

// leaveLimit is how long the end waits for a redrive to stop asking.
const leaveLimit = 2 * time.Second

// leave ends the program: at once, or when a redrive has stopped. A second one waits for nothing.
func (m *Model) leave() []Command {
	r := m.redrive
	if r == nil || r.stage != driving || m.leaving {
		m.done = true
		return nil
	}
	m.leaving = true
	if !r.stopping {
		r.halt()
	}
	return []Command{func(ctx context.Context) any {
		late := time.NewTimer(leaveLimit)
		defer late.Stop()
		select {
		case <-late.C:
		case <-ctx.Done():
		}
		return overdue{}
	}}
}
