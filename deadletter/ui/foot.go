package ui

import (
	"fmt"
	"strings"
	"time"
)

// foot is what is being typed, or what there is to say; and the keys.
func (m *Model) foot() []line {
	if m.input != nil {
		lines, _ := m.typing()
		return lines
	}
	var lines []line
	status := wrap(m.statusText(), m.width)
	for _, l := range ofText(m.statusText(), m.width, min(len(status), maxStatus)) {
		lines = append(lines, line{l.text, bold})
	}
	return append(lines, line{cut(m.keys(), m.width), plain})
}

// typing is what is being typed, below its title; row is the line of the typing itself.
func (m *Model) typing() (lines []line, row int) {
	in := m.input
	lines = []line{{rule(m.width), plain}}
	title := wrap(clean(in.title), m.width)
	for _, t := range title[:min(len(title), maxTitle)] {
		lines = append(lines, line{t, bold})
	}
	row = len(lines)
	text, _ := in.view(m.width, in.at)
	lines = append(lines, line{text, plain})
	if in.problem != "" {
		if in.wrongAt >= 0 {
			_, column := in.view(m.width, in.wrongAt)
			lines = append(lines, line{strings.Repeat(" ", column) + "^", plain})
		}
		lines = append(lines, ofText(clean(in.problem), m.width, problemHeight)...)
	}
	return append(lines, line{cut("enter done  esc never mind  ctrl+u clear  ctrl+c quit", m.width), plain}), row
}

// stillTrying begins what is said of a database in trouble.
const stillTrying = "! Still trying: "

// statusText is what there is to say, the most urgent first.
func (m *Model) statusText() string {
	switch asked := m.asked(); {
	case m.leaving:
		return "Stopping the redrive; ctrl+c does not wait for it."
	case m.trouble != "":
		return stillTrying + m.trouble
	case asked >= 2*time.Second:
		return fmt.Sprintf("The database has been asked %s ago.", asked.Truncate(time.Second))
	default:
		return m.note
	}
}

func (m *Model) keys() string {
	switch {
	case m.help != nil:
		return "q quit  esc back  up/down scroll"
	case m.at == atGroups:
		if m.closed {
			return "q quit  ? help  / filter  enter letters  r redrive  a waiting only"
		}
		return "q quit  ? help  / filter  enter letters  r redrive  a settled too"
	case m.at == atLetters:
		r, _ := m.letters.chosen()
		return "q quit  ? help  esc back  enter open  / filter" + actions(r.status) + "  R all"
	case m.at == atLetter:
		return "q quit  ? help  esc back" + m.letterKeys()
	case m.redrive.stage == driving:
		return "s stop asking  q stop and quit  ? help  up/down scroll"
	case m.redrive.stage == ready:
		return "enter begin  esc leave it  q quit  ? help  up/down scroll"
	case m.redrive.canGoOn():
		return "esc back  r go on  q quit  ? help  up/down scroll"
	default:
		return "esc back  q quit  ? help  up/down scroll"
	}
}

// letterKeys are those of one letter.
func (m *Model) letterKeys() string {
	const moving = "  n/p next  tab part"
	d := m.letter.detail
	switch {
	case d == nil:
		return moving
	case d.letter.Status.Open():
		return actions(d.letter.Status) + moving + "  v verdict"
	default:
		return actions(d.letter.Status) + moving
	}
}

// Cursor is the place of the terminal's cursor, where something is being typed.
func (m *Model) Cursor() (x, y int, shown bool) {
	if m.input == nil || m.width < minWidth || m.height < minHeight {
		return 0, 0, false
	}
	lines, row := m.typing()
	_, x = m.input.view(m.width, m.input.at)
	return x, m.height - len(lines) + row, true
}
