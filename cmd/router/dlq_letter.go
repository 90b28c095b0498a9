package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/deadletter"
)

const (
	// clock is a time of day; day is one with its day.
	clock = "15:04:05.000"
	day   = "2006-01-02 15:04:05.000"
	// labelWidth is the column of names.
	labelWidth = 13
	// bodyWidth is how much of a body is shown that is no JSON.
	bodyWidth = 2000
	// maxLane is how many messages of a lane are shown.
	maxLane = 20
)

// letterPage writes one letter for people.
type letterPage struct {
	b     strings.Builder
	width int
	now   time.Time
}

func printShown(w io.Writer, s shown, l *deadletter.Letter) error {
	p := letterPage{width: terminalWidth(w), now: time.Now()}
	p.failure(s)
	p.body(l)
	p.headers(s.Headers)
	p.story(s, l)
	p.lane(s)
	p.steps(s.Steps)
	p.next(s)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// field writes a name and its text, in as many lines as it takes.
func (p *letterPage) field(name, text string) {
	width := 0
	if p.width > 0 {
		width = max(p.width-labelWidth, minText)
	}
	for i, line := range wrapped(text, width) {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(&p.b, "%-*s%s\n", labelWidth, name, line)
	}
}

func (p *letterPage) title(text string) { fmt.Fprintf(&p.b, "\n%s\n", text) }

// line writes one line, cut where it is too long.
func (p *letterPage) line(text string) {
	if p.width > 0 {
		text = cut(text, p.width)
	}
	p.b.WriteString(strings.TrimRight(text, " ") + "\n")
}

func (p *letterPage) at(t time.Time) string {
	return fmt.Sprintf("%s (%s)", t.Local().Format(day), ago(p.now, t))
}

func (p *letterPage) failure(s shown) {
	p.field("letter", s.ID)
	p.field("status", string(s.Status))
	if s.Verdict != nil {
		p.field("verdict", s.Verdict.Why)
	}
	p.field("error", s.Error)
	p.field("error type", s.ErrorType)
	p.field("group", s.Fingerprint)
	p.field("order", cmp.Or(s.OrderID, "not known: the key or the body cannot be read; nothing is parked behind it"))
	p.field("failed at", fmt.Sprintf("%s (%s)", s.Service, s.Group))
	p.field("message", fmt.Sprintf("%s from %s, partition %d, offset %d", s.MessageID, s.Topic, s.Partition, s.Offset))
	p.field("correlation", cmp.Or(s.CorrelationID, "-"))
	p.field("published", p.at(s.PublishedAt))
	p.field("first failed", p.at(s.FirstFailed))
	p.field("last failed", fmt.Sprintf("%s, by build %s", p.at(s.LastFailed), cmp.Or(s.Version, "-")))
	p.field("attempts", fmt.Sprint(s.Attempts))
}

func (p *letterPage) body(l *deadletter.Letter) {
	if l.Before != nil {
		p.title("Body, as it was edited")
		p.b.WriteString(diff(normal(l.Before), normal(l.Payload)))
	}
	p.title("Body")
	var pretty bytes.Buffer
	if json.Indent(&pretty, l.Payload, "  ", "  ") == nil {
		p.b.WriteString("  " + escapeJSON(strings.ToValidUTF8(pretty.String(), "\uFFFD")) + "\n")
		return
	}
	p.field("", fmt.Sprintf("%d bytes that are no JSON: %s", len(l.Payload), oneLine(fmt.Sprintf("%q", l.Payload[:min(len(l.Payload), bodyWidth)]), bodyWidth)))
}

func (p *letterPage) headers(headers map[string]string) {
	p.title("Headers")
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		p.line("  " + clean(name) + ": " + clean(headers[name]))
	}
}

func (p *letterPage) story(s shown, l *deadletter.Letter) {
	p.title("The order's story, as the order service has it")
	if s.StoryMissing != "" {
		p.line("  " + clean(s.StoryMissing))
	}
	for _, e := range s.Story {
		mark, what, data := " ", e.What, e.summary()
		if e.Letter {
			mark, what, data = "→", "this message", fmt.Sprintf("%s; failed at %s", e.What, l.Service)
		}
		p.line(fmt.Sprintf("%s %s  %-19s  %s", mark, e.At.Local().Format(clock), what, clean(data)))
	}
}

func (p *letterPage) lane(s shown) {
	p.title("What waits of the order at this service, in order")
	for i, m := range s.Lane {
		if i == maxLane {
			p.line(fmt.Sprintf("  … and %d more", len(s.Lane)-maxLane))
			break
		}
		mark := " "
		if m.ID == s.ID {
			mark = "→"
		}
		p.line(fmt.Sprintf("%s %3d  %-9s  %s  %s  %s", mark, i+1, m.Status, shortID(m.ID), m.PublishedAt.Local().Format(clock), m.Topic))
	}
	if len(s.Lane) == 0 {
		p.line("  Nothing waits.")
	}
}

func (p *letterPage) steps(steps []deadletter.Step) {
	if len(steps) == 0 {
		return
	}
	p.title("What was done")
	for _, step := range steps {
		p.line(fmt.Sprintf("  %s  %-12s  %s  %s", step.At.Local().Format(day), step.Action, clean(step.Who), clean(step.Reason)))
	}
}

// next says what can be done with a letter that is so.
func (p *letterPage) next(s shown) {
	id := shortID(s.ID)
	switch s.Status {
	case deadletter.New, deadletter.Retrying:
		p.title("Next: " + pasteable("router", "dlq", "redrive", id, "--reason") + ` "…"`)
		p.line(`      ` + pasteable("router", "dlq", "edit", id, "--reason") + ` "…"`)
		p.line(`      ` + pasteable("router", "dlq", "drop", id, "--reason") + ` "…"`)
	case deadletter.Dropped:
		p.title("Next: " + pasteable("router", "dlq", "restore", id, "--reason") + ` "…"`)
	}
}
