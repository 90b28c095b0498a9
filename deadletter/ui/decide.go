package ui

import (
	"context"
	"errors"

	"millrace/deadletter"
)

// decided is what came of a drop or a restore.
type decided struct {
	what string // as it is said
	err  error
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
