package ui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/deadletter"
)

// Farewell is what is to be said when the screen is gone: how an unfinished redrive is taken up again. It is empty where
// there is none.
func (m *Model) Farewell() string {
	r := m.redrive
	if r == nil || r.stage != driving && !r.canGoOn() {
		return ""
	}
	return fmt.Sprintf("Redrive %s: %s\nTake it up again with: %s\n", r.frozen.ID, r.summary(), r.resume())
}

func (r *redrive) resume() string { return "router dlq redrive --resume " + r.frozen.ID }

// outcome is how many letters something became of.
type outcome struct {
	n    int64
	text string
}

const processed = "processed"

func outcomes(t deadletter.Tally) []outcome {
	return []outcome{{t.Resolved, processed}, {t.Unchanged, "of them changed nothing"}, {t.Failed, "failed again"}, {t.Held, "held behind another letter of their order"},
		{t.Gone, "settled by others"}, {t.Asked, "asked for, no outcome yet"}, {t.Waiting, "not asked for"}}
}

// summary is what became of the letters, in a sentence.
func (r *redrive) summary() string {
	t := r.tally
	parts := []string{fmt.Sprintf("%s of %s processed", count(t.Resolved), lettersOf(t.Letters))}
	for _, o := range outcomes(t) {
		if o.n > 0 && o.text != processed {
			parts = append(parts, count(o.n)+" "+o.text)
		}
	}
	return strings.Join(parts, ", ") + "."
}

// idleHint is how long nothing may come of a redrive before the screen says what may be missing. A router takes
// up what was asked for within a second.
const idleHint = 10 * time.Second

const (
	// barWidth is the progress bar's, in characters, where there is room for it beside barMargin.
	barWidth  = 40
	barMargin = 25
)

func (m *Model) redriveBody(height int) []line {
	r := m.redrive
	lines := m.redriveLines()
	r.top = max(min(r.top, len(lines)-height), 0)
	return lines[r.top:]
}

func (m *Model) redriveLines() []line {
	r := m.redrive
	var lines []line
	text := func(format string, args ...any) {
		lines = append(lines, indentedText(clean(fmt.Sprintf(format, args...)), m.width)...)
	}
	blank := func() { lines = append(lines, line{}) }
	if r.stage == freezing {
		blank()
		text("Noting which letters these are.")
		return lines
	}
	t := r.tally
	text("Redrive %s", r.frozen.ID)
	text("%s: %s", lettersOf(t.Letters), r.what)
	text("chosen by %s", r.frozen.Selection)
	text("because %s", r.frozen.Reason)
	blank()
	if r.stage == ready {
		text("These letters are noted; what fails later does not join them. One goes first. When it got through, more follow, faster and faster; at the first that fails again no more are asked for. What waits behind a letter follows it, in order.")
		blank()
		text("enter begins. esc leaves it; later it can be begun with")
		text("%s", r.resume())
		return lines
	}
	ended := t.Resolved + t.Failed + t.Held + t.Gone
	width := max(min(barWidth, m.width-barMargin), 1)
	full := int(int64(width) * ended / max(t.Letters, 1))
	text("[%s%s] %s of %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), count(ended), count(t.Letters))
	blank()
	for _, o := range outcomes(t) {
		lines = append(lines, line{cut("  "+padLeft(count(o.n), numberWidth+2)+"  "+o.text, m.width), plain})
	}
	blank()
	switch {
	case r.stage == driving && r.stopping:
		text("Stopping. What was asked for goes on.")
	case r.stage == driving && m.now.Sub(r.changed) > idleHint:
		text("Nothing has come of it for %s. The routers do the work: does one run that has this service? What was asked for waits until one does. Without one, this does it:", deadletter.Age(m.now, r.changed))
		text("%s --here", r.resume())
	case r.stage == driving:
		text("s stops asking; what was asked for goes on.")
	default:
		r.ending(text)
	}
	return lines
}

// ending says how it ended, and what can be done about the rest.
func (r *redrive) ending(text func(format string, args ...any)) {
	t := r.tally
	switch {
	case r.err != nil && !errors.Is(r.err, context.Canceled):
		text("Stopped: %v.", r.err)
	case t.Waiting == 0 && t.Asked == 0 && t.Held > 0:
		text("All that can go has gone. Those held go on by themselves when the letter before them is redriven or dropped. esc goes back.")
		return
	case t.Waiting == 0 && t.Asked == 0:
		text("All have an outcome. esc goes back.")
		return
	case t.Failed > 0 && r.err == nil:
		text("Stopped, because letters failed again. Look at why, mend it, then go on.")
	default:
		text("Stopped. What was asked for goes on.")
	}
	text("r goes on with the rest; so does, at any time,")
	text("%s", r.resume())
}
