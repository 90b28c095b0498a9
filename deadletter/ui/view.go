package ui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"millrace/deadletter"
)

// style is how a line looks. There are no colours, and nothing is told by the style alone.
type style int

const (
	plain style = iota
	bold
	reverse
)

// What turns a style on, and off again (ECMA-48, Select Graphic Rendition).
var styles = [...]string{plain: "", bold: "\x1b[1m", reverse: "\x1b[7m"}

const stylesOff = "\x1b[0m"

// line is one line of the screen, without anything that a terminal would obey.
type line struct {
	text  string
	style style
}

// chosen is a line of a list: the chosen one is marked, and stands out.
func chosen(is bool, text string) line {
	if is {
		return line{"> " + text, reverse}
	}
	return line{"  " + text, plain}
}

// rule is a line across.
func rule(width int) string { return strings.Repeat("-", max(width, 0)) }

// filled is exactly so many lines.
func filled(lines []line, height int) []line {
	for len(lines) < height {
		lines = append(lines, line{})
	}
	return lines[:height]
}

// ofText is text in exactly so many lines; the last one ends with an ellipsis if there is more.
func ofText(text string, width, height int) (lines []line) {
	parts := wrap(text, width)
	for i, p := range parts {
		if i == height-1 && len(parts) > height {
			p = cut(p+" "+parts[i+1], width)
			if !strings.HasSuffix(p, "…") {
				p = cut(p, width-1) + "…"
			}
			return append(lines, line{p, plain})
		}
		lines = append(lines, line{p, plain})
	}
	return filled(lines, height)
}

const (
	// minWidth and minHeight are the smallest terminal in which a list, what is typed and the keys have room.
	minWidth  = 40
	minHeight = 12
	// headHeight are the lines above everything: where one is, and the filter.
	headHeight = 2
	// previewHeight is how many lines below a list tell more of the chosen row; a list has minRows before it gets them.
	previewHeight = 4
	minRows       = 3
	// maxStatus is how many lines an error may take.
	maxStatus = 3
	// maxTitle is how many lines the title of what is being typed may take.
	maxTitle = 3
	// problemHeight is how much is said of what is wrong with it: a filter's names all fields.
	problemHeight = 2
)

// View is the screen as the terminal gets it: as many lines as it has, and styles.
func (m *Model) View() string {
	lines := m.screen()
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		text := cut(clean(l.text), m.width) // clean once more: here it is certain
		if l.style == reverse {
			text = pad(text, m.width)
		}
		if l.style == plain || text == "" {
			b.WriteString(text)
			continue
		}
		b.WriteString(styles[l.style] + text + stylesOff)
	}
	return b.String()
}

// screen is the screen, line by line.
func (m *Model) screen() []line {
	if m.width < minWidth || m.height < minHeight {
		if m.width <= 0 || m.height <= 0 {
			return nil
		}
		return filled(ofText(fmt.Sprintf("The terminal is too small (%dx%d): this needs %dx%d. q quits.", m.width, m.height, minWidth, minHeight), m.width, m.height), m.height)
	}
	foot := m.foot()
	height := m.height - headHeight - len(foot)
	lines := append(m.head(), m.body(height)...)
	return append(lines, foot...)
}

// bodyHeight is how many lines there are between head and foot.
func (m *Model) bodyHeight() int { return max(m.height-headHeight-len(m.foot()), 1) }

// listRows is how many rows of a list fit between them.
func (m *Model) listRows() int {
	rows, _ := listRows(m.bodyHeight())
	return rows
}

// listRows is how many rows of a list fit into a height, beside its heading and, where there is enough room, the preview of
// the chosen one.
func listRows(height int) (rows int, preview bool) {
	if rows = height - 1 - previewHeight; rows >= minRows {
		return rows, true
	}
	return max(height-1, 1), false
}

func (m *Model) body(height int) []line {
	var lines []line
	switch {
	case m.help != nil:
		lines = m.help.body(m.width, height)
	case m.at == atGroups:
		lines = m.groupsBody(height)
	case m.at == atLetters:
		lines = m.lettersBody(height)
	case m.at == atLetter:
		lines = m.letterBody(height)
	default:
		lines = m.redriveBody(height)
	}
	return filled(lines, height)
}

// head says where one is, and what is shown there.
func (m *Model) head() []line {
	title := "Dead letters"
	if m.at == atLetters || m.at == atLetter {
		title += " > group " + clean(m.letters.of.Fingerprint)
	}
	switch {
	case m.help != nil:
		title = "Dead letters > help"
	case m.at == atLetter:
		title += " > letter " + short(m.letter.id)
	case m.at == atRedrive:
		title += " > redrive"
	}
	right := ""
	if at := m.refreshed(); !at.IsZero() {
		right = "as of " + at.UTC().Format(time.TimeOnly) + "Z"
	}
	return []line{{pad(title, m.width-ansi.StringWidth(right)-1) + " " + right, bold}, {cut(m.subtitle(), m.width), plain}}
}

// subtitle says which letters these are.
func (m *Model) subtitle() string {
	switch {
	case m.input != nil && m.trouble != "": // the line for it is taken
		return stillTrying + m.trouble
	case m.help != nil || m.at == atRedrive:
		return ""
	case m.at == atLetter:
		return fmt.Sprintf("number %s of those read", count(int64(m.letters.at+1)))
	case m.at == atGroups && len(m.groups.pauses) > 0:
		p := m.groups.pauses[0]
		return fmt.Sprintf("! Paused %s ago: %s (mend it, then: router dlq resume %s)", deadletter.Age(m.now, p.Since), clean(pausedServices(m.groups.pauses)), clean(p.Service))
	}
	which := "waiting letters"
	switch {
	case m.closed:
		which = "all letters, settled ones too"
	case m.asksStatus():
		which = "letters"
	}
	if m.filter != "" {
		which += " that meet: " + clean(m.filter)
	}
	return which
}

// pausedServices names them all.
func pausedServices(list []deadletter.Pause) string {
	var names []string
	for _, p := range list {
		names = append(names, p.Service)
	}
	return strings.Join(names, ", ")
}
