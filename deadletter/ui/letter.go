package ui

import (
	"context"

	"millrace/deadletter"
)

// detail is all that is known of one letter.
type detail struct {
	letter *deadletter.Letter
	lane   []*deadletter.Letter // what waits, in order, the letter among it
	steps  []deadletter.Step
}

// verdict is what a redrive would do.
type verdict string

// letterView is one letter.
type letterView struct {
	source  int
	id      string
	detail  *detail
	verdict verdict // empty: not known (yet)
	top     int
	ask     request
	judge   request

	// What is shown, as it was put together for this width: a body may be long.
	lines    []line
	sections []int // where they begin
	width    int
}

func (m *Model) openLetter(r row) []Command {
	m.letter.ask.stop()
	m.letter.judge.stop()
	asked, judged := m.letter.ask.n, m.letter.judge.n // late answers are known by these
	m.letter = letterView{source: m.letters.of.source, id: r.id, ask: request{n: asked}, judge: request{n: judged}}
	m.at = atLetter
	return []Command{m.loadLetter()}
}

func (m *Model) loadLetter() Command {
	source, id := m.sources[m.letter.source], m.letter.id
	return m.letter.ask.send(m.now, queryLimit, func(ctx context.Context) (any, error) {
		l, err := source.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		d := detail{letter: l}
		if d.lane, err = source.Lane(ctx, l); err != nil {
			return nil, err
		}
		d.steps, err = source.Steps(ctx, id)
		return d, err
	})
}

// set takes in a letter as it is now; with the first look the verdict is asked for.
func (v *letterView) set(d detail, m *Model) []Command {
	first := v.detail == nil
	changed := !first && (v.detail.letter.Status != d.letter.Status || len(v.detail.steps) != len(d.steps))
	v.detail, v.width = &d, 0
	if changed {
		v.verdict = ""
	}
	if (first || changed) && d.letter.Status.Open() {
		return []Command{m.loadVerdict()}
	}
	return nil
}

func (m *Model) loadVerdict() Command {
	v := &m.letter
	v.verdict, v.width = "", 0
	source, l := m.sources[v.source], v.detail.letter
	return v.judge.send(m.now, decisionLimit, func(ctx context.Context) (any, error) {
		return verdict(source.Verdict(ctx, l)), nil
	})
}

func (m *Model) letterKey(k string) []Command {
	v := &m.letter
	height := m.bodyHeight()
	m.layOut()
	v.top = scrolled(k, v.top, len(v.lines), height)
	switch k {
	case "esc", "left", "h", "backspace":
		v.ask.stop()
		v.judge.stop()
		m.at = atLetters
	case "tab":
		v.nextSection(height)
	case "n", "p":
		return m.neighbour(k)
	}
	if v.detail == nil {
		return nil
	}
	switch k {
	case "v":
		if v.detail.letter.Status.Open() {
			return []Command{m.loadVerdict()}
		}
	case "r", "d", "u":
		m.askLetter(k, v.source, v.id, v.detail.letter.Status)
	}
	return nil
}

// nextSection scrolls to the next heading, and from the last one to the beginning.
func (v *letterView) nextSection(height int) {
	end := max(len(v.lines)-height, 0)
	for _, at := range v.sections {
		if at > v.top && v.top < end {
			v.top = min(at, end)
			return
		}
	}
	v.top = 0
}

// neighbour opens the next letter of the list, or the previous one.
func (m *Model) neighbour(k string) []Command {
	l := &m.letters
	to := l.at + 1
	if k == "p" {
		to = l.at - 1
	}
	if to < 0 || to >= len(l.rows) {
		m.say("There is no letter further on.")
		return nil
	}
	l.at = to
	return append(m.openLetter(l.rows[to]), m.loadOlder()...)
}
