package ui

import (
	"context"
	"errors"
	"strings"

	"millrace/deadletter"
)

// decided is what came of a drop or a restore.
type decided struct {
	what string // as it is said
	err  error
}

// actions are the keys of what can be done to a letter of a status, as the foot shows them.
func actions(s deadletter.Status) string {
	switch s {
	case deadletter.New, deadletter.Retrying:
		return "  r redrive  d drop"
	case deadletter.Redriving:
		return "  d drop"
	case deadletter.Dropped:
		return "  u restore"
	default:
		return ""
	}
}

// askLetter asks for the reason of what a key stands for, or says why that cannot be done.
func (m *Model) askLetter(k string, source int, id string, s deadletter.Status) {
	switch {
	case !strings.Contains(actions(s), "  "+k+" "):
		m.say("Letter %s is %s: %s", short(id), s, insteadOf[s])
	case k == "r":
		m.askRedrive(source, "letter "+id, "id:"+id)
	case k == "d":
		m.askDrop(source, id)
	case k == "u":
		m.askRestore(source, id)
	}
}

// insteadOf says what can be done to a letter, if not what was asked.
var insteadOf = map[deadletter.Status]string{
	deadletter.New: "it can be redriven (r) or dropped (d).", deadletter.Retrying: "it can be redriven (r) or dropped (d).",
	deadletter.Redriving: "it is on its way; it can be dropped (d).", deadletter.Dropped: "restore it (u) first.", deadletter.Resolved: "it was processed, and nothing is left to do.",
}

func (m *Model) askDrop(source int, id string) {
	m.askReason("Drop letter "+id+": its message counts as processed, without an effect; what waits behind it goes on. Why?", func(reason string) []Command {
		return m.decide("Letter "+short(id)+" is dropped; u takes it up again.", func(ctx context.Context) error { return m.sources[source].Drop(ctx, id, reason) })
	})
}

func (m *Model) askRestore(source int, id string) {
	m.askReason("Restore letter "+id+", which was dropped: it waits again, as if it had just failed. Why?", func(reason string) []Command {
		return m.decide("Letter "+short(id)+" is restored.", func(ctx context.Context) error { return m.sources[source].Restore(ctx, id, reason) })
	})
}

// decide carries out a decision; one at a time, for a second one must not end the first half done.
func (m *Model) decide(what string, do func(ctx context.Context) error) []Command {
	if !m.decision.idle() {
		m.say("The decision before is still on its way; try again in a moment.")
		return nil
	}
	return []Command{m.decision.send(m.now, decisionLimit, func(ctx context.Context) (any, error) {
		return decided{what, do(ctx)}, nil
	})}
}

// decided says what came of a decision, and reads anew what it has changed.
func (m *Model) decided(d decided) []Command {
	switch {
	case errors.Is(d.err, deadletter.ErrProcessed): // it is settled, if otherwise than was wanted
		m.say("%v", d.err)
	case d.err != nil:
		m.say("Nothing was changed: %v", d.err)
		return nil
	default:
		m.say("%s", d.what)
	}
	switch m.at {
	case atLetters:
		return []Command{m.loadLetters()}
	case atLetter:
		return []Command{m.loadLetter()}
	default:
		return nil
	}
}
