package ui

import (
	"cmp"
	"context"
	"slices"
	"time"

	"millrace/deadletter"
)

// row is what a list shows of a letter. Bodies are not kept: a list may be long.
type row struct {
	id, order, topic, err string
	status                deadletter.Status
	position, behind      int64
	partition             int32
	offset                int64
	attempts              int
	first, last           time.Time
}

func rowOf(l *deadletter.Listed) row {
	return row{l.ID, l.OrderID, l.Topic, l.Error, l.Status, l.Position, l.Behind, l.Partition, l.Offset, l.Attempts, l.FirstFailed, l.LastFailed}
}

// pageRows is how many letters are read at a time; a query for them takes some milliseconds.
const pageRows = 100

// page is a part of a list: what lies before a position, the youngest first. next is zero where nothing is older.
type page struct {
	before, next int64
	rows         []row
}

// letterList are the letters of one group, as far as they were read. The youngest are first.
type letterList struct {
	of   group
	read bool // it was read at all
	rows []row
	more bool // there are older ones
	cursor
	ask request
}

func (l *letterList) forget() {
	l.read, l.rows, l.more, l.cursor = false, nil, false, cursor{}
	l.ask.stop()
	l.ask.last, l.ask.good = time.Time{}, time.Time{}
}

func (l *letterList) chosen() (row, bool) {
	if l.at >= len(l.rows) {
		return row{}, false
	}
	return l.rows[l.at], true
}

// merge puts a page in the place of what was read of the same letters before. The letter that was chosen stays chosen,
// at the same place on the screen.
func (l *letterList) merge(p page) {
	l.read = true
	was, some := l.chosen()
	from := 0
	for p.before > 0 && from < len(l.rows) && l.rows[from].position >= p.before {
		from++
	}
	to := len(l.rows)
	if p.next > 0 {
		to = from
		for to < len(l.rows) && l.rows[to].position >= p.next {
			to++
		}
	}
	if to == len(l.rows) {
		l.more = p.next > 0
	}
	l.rows = slices.Concat(l.rows[:from], p.rows, l.rows[to:])
	if !some {
		return
	}
	at, found := slices.BinarySearchFunc(l.rows, was.position, func(r row, position int64) int { return cmp.Compare(position, r.position) })
	if !found {
		at = min(at, max(len(l.rows)-1, 0)) // the next older one
	}
	l.top += at - l.at
	l.at = at
}

func (m *Model) openGroup(g group) []Command {
	m.letters.forget()
	m.letters.of, m.at = g, atLetters
	return []Command{m.loadLetters()}
}

// loadLetters reads what is on the screen anew, with what comes next.
func (m *Model) loadLetters() Command {
	before := int64(0)
	if top := m.letters.top; top > 0 && top <= len(m.letters.rows) {
		before = m.letters.rows[top-1].position
	}
	return m.loadPage(before)
}

// loadOlder reads on where the list ends, when the end is near and nothing else is being read.
func (m *Model) loadOlder() []Command {
	l := &m.letters
	if !l.more || !l.ask.idle() || l.at+2*m.listRows() < len(l.rows) {
		return nil
	}
	return []Command{m.loadPage(l.rows[len(l.rows)-1].position)}
}

func (m *Model) loadPage(before int64) Command {
	condition, err := m.condition("group:" + m.letters.of.Fingerprint)
	source, limit := m.sources[m.letters.of.source], pageRows+m.height
	return m.letters.ask.send(m.now, queryLimit, func(ctx context.Context) (any, error) {
		if err != nil {
			return nil, err
		}
		list, next, err := source.Page(ctx, condition, before, limit)
		if err != nil {
			return nil, err
		}
		p := page{before: before, next: next, rows: make([]row, len(list))}
		for i := range list {
			p.rows[i] = rowOf(&list[i])
		}
		return p, nil
	})
}

func (m *Model) lettersKey(k string) []Command {
	l := &m.letters
	if at, moves := moved(k, l.at, len(l.rows), m.listRows()); moves {
		l.at = at
		if k == "home" || k == "g" { // there may be younger ones
			l.top = 0
			return []Command{m.loadLetters()}
		}
		return m.loadOlder()
	}
	chosen, found := l.chosen()
	switch k {
	case "esc", "left", "h", "backspace":
		l.ask.stop()
		m.at = atGroups
	case "/":
		m.askFilter()
	case "a":
		m.closed = !m.closed
		return m.chosenAnew()
	case "enter", "right", "l":
		if found {
			return m.openLetter(chosen)
		}
	case "R":
		if found {
			m.askRedrive(l.of.source, waitingOf(l.of), m.selection("group:"+l.of.Fingerprint))
		}
	case "r", "d", "u":
		if found {
			m.askLetter(k, l.of.source, chosen.id, chosen.status)
		}
	}
	return nil
}
