package ui

import (
	"cmp"
	"fmt"
	"strings"

	"millrace/deadletter"
)

const (
	statusWidth = 9
	orderWidth  = 36
	triesWidth  = 5
	// errorFrom is from which width of the terminal on the error has a column: those of a group are alike.
	errorFrom = 100
)

func (m *Model) lettersBody(height int) []line {
	l := &m.letters
	rows, preview := listRows(height)
	l.keep(len(l.rows), rows)
	columns := func(id, status, order, parked, tries, last, err string) string {
		c := []string{pad(id, shortID), pad(status, statusWidth), pad(order, orderWidth), padLeft(parked, numberWidth), padLeft(tries, triesWidth), padLeft(last, agoWidth)}
		if m.width >= errorFrom {
			c = append(c, err)
		}
		return strings.Join(c, " ")
	}
	lines := []line{{"  " + columns("LETTER", "STATUS", "ORDER", "PARKED", "TRIES", "LAST", "ERROR"), bold}}
	for i := l.top; i < min(l.top+rows, len(l.rows)); i++ {
		r := l.rows[i]
		lines = append(lines, chosen(i == l.at, columns(short(r.id), clean(string(r.status)), cmp.Or(clean(r.order), "-"), count(r.behind), fmt.Sprint(r.attempts), deadletter.Age(m.now, r.last), clean(r.err))))
	}
	if len(l.rows) == 0 {
		lines = append(lines, line{}, line{"  " + m.nothing(), plain})
	}
	lines = filled(lines, rows+1)
	r, found := l.chosen()
	if !found || !preview {
		return lines
	}
	place := fmt.Sprintf("%s of %s", count(int64(l.at+1)), count(int64(len(l.rows))))
	if l.more {
		place += " read, there are more"
	}
	lines = append(lines, line{rule(m.width-len(place)-1) + " " + place, plain})
	about := fmt.Sprintf("order %s  %s/%d@%d", cmp.Or(clean(r.order), "none"), clean(r.topic), r.partition, r.offset)
	lines = append(lines, line{cut(about, m.width), plain})
	return append(lines, ofText(clean(r.err), m.width, previewHeight-2)...)
}
