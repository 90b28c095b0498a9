package ui

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/deadletter"
	"millrace/deadletter/plural"
)

const (
	labelWidth = 12 // of the names before the facts
	// maxBehind is how many of those parked behind are listed; the others are counted.
	maxBehind = 20
	// maxShown is how many bytes of a body or a header are shown. A body may have four million, and is laid out anew every few
	// seconds.
	maxShown = 256 << 10
)

func (m *Model) letterBody(height int) []line {
	v := &m.letter
	if v.detail == nil {
		text := "Reading letter " + clean(v.id) + "."
		if m.trouble != "" {
			text = "Letter " + clean(v.id) + " could not be read yet."
		}
		return []line{{}, {"  " + text, plain}}
	}
	m.layOut()
	v.top = max(min(v.top, len(v.lines)-height), 0)
	return slices.Clone(v.lines[v.top:min(v.top+height, len(v.lines))])
}

// layOut puts the lines together, where what they tell or the width has changed.
func (m *Model) layOut() {
	v := &m.letter
	if v.detail == nil || v.width == m.width {
		return
	}
	v.lines, v.sections = v.detail.lines(m.verdictText(), m.width, m.now)
	v.width = m.width
}

func (m *Model) verdictText() string {
	v := &m.letter
	switch {
	case !v.detail.letter.Status.Open():
		return "none: it is settled"
	case v.verdict == "":
		return "being found out, by running the reaction and rolling it back"
	default:
		return clean(string(v.verdict))
	}
}

// lines is a letter as text.
func (d *detail) lines(verdict string, width int, now time.Time) (lines []line, sections []int) {
	l := d.letter
	add := func(label, text string) {
		for _, t := range fact(label, clean(text), width) {
			lines = append(lines, line{t, plain})
		}
	}
	heading := func(format string, args ...any) {
		lines = append(lines, line{})
		sections = append(sections, len(lines))
		lines = append(lines, line{fmt.Sprintf(format, args...), bold})
	}
	add("letter", l.ID)
	add("status", string(l.Status))
	for _, t := range fact("verdict", verdict, width) {
		lines = append(lines, line{t, bold})
	}
	add("error", l.Error)
	add("error type", l.ErrorType)
	add("failed", fmt.Sprintf("%s, first %s (%s ago), last %s (%s ago)", plural.Of(l.Attempts, "try", "tries"), moment(l.FirstFailed), deadletter.Age(now, l.FirstFailed), moment(l.LastFailed), deadletter.Age(now, l.LastFailed)))
	add("service", l.Service+", build "+cmp.Or(l.Version, "unknown"))
	add("handler", l.Handler)
	add("order", cmp.Or(l.OrderID, "none: the key is no order id, or the message cannot be read"))
	add("message", fmt.Sprintf("%s, %s/%d@%d, published %s", l.MessageID, l.Topic, l.Partition, l.Offset, moment(l.PublishedAt)))
	add("correlation", cmp.Or(l.CorrelationID, "-"))

	place := slices.IndexFunc(d.lane, func(o *deadletter.Letter) bool { return o.ID == l.ID })
	if place < 0 { // it is settled: it holds nobody up
		heading("What waits of the order at this service: %s", count(int64(len(d.lane))))
	} else {
		heading("What waits of the order at this service: %s before it, %s behind", count(int64(place)), count(int64(len(d.lane)-place-1)))
	}
	for i, o := range d.lane {
		if i == maxBehind {
			lines = append(lines, line{fmt.Sprintf("  and %s more", count(int64(len(d.lane)-i))), plain})
			break
		}
		mark := "  "
		if o.ID == l.ID {
			mark = "> "
		}
		lines = append(lines, line{cut(fmt.Sprintf("%s%3d %s %s %s", mark, i+1, pad(clean(string(o.Status)), statusWidth), short(clean(o.ID)), clean(o.Topic)), width), plain})
	}
	heading("Body, %s bytes", count(int64(len(l.Payload))))
	lines = append(lines, bodyLines(l.Payload, width)...)
	if l.Before != nil {
		heading("Body as it came; it was edited")
		lines = append(lines, bodyLines(l.Before, width)...)
	}
	heading("Headers")
	for _, k := range slices.Sorted(maps.Keys(l.Headers)) {
		lines = append(lines, indentedText(clean(k)+": "+clean(atMost(l.Headers[k])), width)...)
	}
	heading("What was done")
	for _, s := range d.steps {
		text := fmt.Sprintf("%s  %s by %s", moment(s.At), s.Action, s.Who)
		if s.Reason != "" {
			text += ": " + s.Reason
		}
		lines = append(lines, indentedText(clean(text), width)...)
	}
	if len(d.steps) == 0 {
		lines = append(lines, line{"  Nothing yet.", plain})
	}
	return lines, sections
}

// moment is a time, to the second.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// fact is a name and what it stands for, over as many lines as that takes.
func fact(label, text string, width int) []string {
	lines := wrap(text, max(width-labelWidth, 1))
	for i := range lines {
		lines[i] = pad(label, labelWidth) + lines[i]
		label = ""
	}
	return lines
}

// indentedText is text two columns in.
func indentedText(text string, width int) (lines []line) {
	for _, t := range wrap(text, width-2) {
		lines = append(lines, line{"  " + t, plain})
	}
	return lines
}

// bodyLines is a body as people read it: JSON indented, anything else quoted.
func bodyLines(body []byte, width int) (lines []line) {
	var text string
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "", "  ") == nil {
		text = atMost(pretty.String())
	} else {
		text = "no JSON: " + atMost(fmt.Sprintf("%q", body[:min(len(body), maxShown)]))
	}
	for part := range strings.Lines(text) {
		lines = append(lines, indentedText(clean(strings.TrimRight(part, "\r\n")), width)...)
	}
	return lines
}

// atMost is text as far as it is shown.
func atMost(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "\n… cut here; router dlq show has all of it"
}
