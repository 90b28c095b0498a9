package ui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/deadletter"
)

// group is one kind of failure, in one database.
type group struct {
	source int
	deadletter.Group
}

// groupList are the kinds of failure, the most frequent first.
type groupList struct {
	read   bool // it was read at all
	list   []group
	pauses []deadletter.Pause
	cursor
	ask request
}

func (g *groupList) forget() {
	g.read, g.list, g.cursor = false, nil, cursor{}
	g.ask.stop()
	g.ask.last, g.ask.good = time.Time{}, time.Time{}
}

// overview is what there is, at one time.
type overview struct {
	groups []group
	pauses []deadletter.Pause
	failed []int // databases that did not say
	err    error // why
}

// set takes in what there is now. The group that was chosen stays chosen, wherever it is now.
func (g *groupList) set(o overview) {
	list := o.groups
	for _, was := range g.list { // of a database that does not answer it stays as it was
		if slices.Contains(o.failed, was.source) {
			list = append(list, was)
		}
	}
	slices.SortStableFunc(list, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	if len(g.list) > 0 {
		was := g.list[min(g.at, len(g.list)-1)]
		if i := slices.IndexFunc(list, func(o group) bool { return o.source == was.source && o.Fingerprint == was.Fingerprint }); i >= 0 {
			g.top += i - g.at
			g.at = i
		}
	}
	g.read, g.list, g.pauses = true, list, o.pauses
}

func (g *groupList) chosen() (group, bool) {
	if g.at >= len(g.list) {
		return group{}, false
	}
	return g.list[g.at], true
}

func (m *Model) loadGroups() Command {
	condition, err := m.condition("")
	sources := m.sources
	return m.groups.ask.send(m.now, queryLimit, func(ctx context.Context) (any, error) {
		if err != nil {
			return nil, err
		}
		var o overview
		for i, s := range sources {
			groups, err := s.Groups(ctx, condition)
			pauses, pauseErr := s.Pauses(ctx)
			if err = cmp.Or(err, pauseErr); err != nil {
				o.failed, o.err = append(o.failed, i), err
				continue
			}
			for _, g := range groups {
				o.groups = append(o.groups, group{i, g})
			}
			o.pauses = append(o.pauses, pauses...)
		}
		if len(o.failed) == len(sources) {
			return nil, o.err
		}
		return o, nil
	})
}

func (m *Model) groupsKey(k string) []Command {
	if at, moves := moved(k, m.groups.at, len(m.groups.list), m.listRows()); moves {
		m.groups.at = at
		return nil
	}
	g, found := m.groups.chosen()
	switch k {
	case "/":
		m.askFilter()
	case "a":
		m.closed = !m.closed
		return m.chosenAnew()
	case "enter", "right", "l":
		if found {
			return m.openGroup(g)
		}
	case "r":
		if found {
			m.askRedrive(g.source, waitingOf(g), m.selection("group:"+g.Fingerprint))
		}
	}
	return nil
}

// waitingOf names what a redrive of a group takes.
func waitingOf(g group) string { return "the waiting letters of group " + clean(g.Fingerprint) }

// columns of the list of groups, in characters.
const (
	numberWidth  = 7
	agoWidth     = 4
	trendWidth   = 10
	serviceWidth = 12
)

func (m *Model) groupsBody(height int) []line {
	rows, preview := listRows(height)
	m.groups.keep(len(m.groups.list), rows)
	columns := func(letters, orders, parked, last, trend, service, err string) string {
		return strings.Join([]string{padLeft(letters, numberWidth), padLeft(orders, numberWidth), padLeft(parked, numberWidth), padLeft(last, agoWidth),
			pad(trend, trendWidth), pad(service, serviceWidth), err}, " ")
	}
	lines := []line{{"  " + columns("LETTERS", "ORDERS", "PARKED", "LAST", "TREND", "SERVICE", "ERROR"), bold}}
	for i := m.groups.top; i < min(m.groups.top+rows, len(m.groups.list)); i++ {
		g := m.groups.list[i]
		lines = append(lines, chosen(i == m.groups.at, columns(count(g.Letters), count(g.Orders), count(g.Behind), deadletter.Age(m.now, g.LastFailed), g.Trend(),
			clean(strings.Join(g.Services, ",")), clean(g.Error))))
	}
	if len(m.groups.list) == 0 {
		lines = append(lines, line{}, line{"  " + m.nothing(), plain})
	}
	lines = filled(lines, rows+1)
	g, found := m.groups.chosen()
	if !found || !preview {
		return lines
	}
	lines = append(lines, line{rule(m.width), plain})
	about := fmt.Sprintf("group %s: first %s ago; %s in the last hour, %s in the one before", clean(g.Fingerprint), deadletter.Age(m.now, g.FirstFailed), count(g.LastHour), count(g.HourBefore))
	lines = append(lines, line{cut(about, m.width), plain})
	return append(lines, ofText(clean(g.Handler+": "+g.Error), m.width, previewHeight-2)...)
}

// nothing says why the list is empty.
func (m *Model) nothing() string {
	read := m.groups.read
	if m.at == atLetters {
		read = m.letters.read
	}
	switch {
	case !read && m.trouble != "":
		return "The letters could not be read yet."
	case !read:
		return "Reading the letters."
	case m.filter != "":
		return "No letter meets the filter. / changes it."
	case !m.closed:
		return "No letter waits for anybody. a shows the settled ones, too."
	default:
		return "There are no dead letters."
	}
}
