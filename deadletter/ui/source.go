// Package ui is the dead letters on one screen of a terminal, for those who would rather look than type:
// groups, the letters of a group, one letter; and from there redrive, drop, restore.
//
// Model is the screen without the terminal: it takes keys, answers and the time, and returns what has to be
// asked or done next. It does no I/O, so a test can press keys and read the screen. Run shows it.
//
// What a letter holds was written by others. Nothing of it reaches the terminal but graphic characters.
package ui

import (
	"context"

	"millrace/deadletter"
	"millrace/deadletter/filter"
)

// Source is where letters lie, and where it is decided what becomes of them: a deadletter.Desk, and what knows
// the services' reactions. Its methods are called from several goroutines.
type Source interface {
	Groups(ctx context.Context, f filter.Condition) ([]deadletter.Group, error)
	// Pauses are the services that take no messages.
	Pauses(ctx context.Context) ([]deadletter.Pause, error)
	Page(ctx context.Context, f filter.Condition, before int64, limit int) (list []deadletter.Listed, next int64, err error)
	Find(ctx context.Context, id string) (*deadletter.Letter, error)
	Lane(ctx context.Context, l *deadletter.Letter) ([]*deadletter.Letter, error)
	Steps(ctx context.Context, id string) ([]deadletter.Step, error)
	// Verdict says what would happen if the letter were redriven now, in a sentence.
	Verdict(ctx context.Context, l *deadletter.Letter) string
	Drop(ctx context.Context, id, reason string) error
	Restore(ctx context.Context, id, reason string) error
	Freeze(ctx context.Context, f filter.Condition, text, reason string) (deadletter.Redrive, error)
	Drive(ctx context.Context, r deadletter.Redrive, pace deadletter.Pace, progress func(deadletter.Tally)) (deadletter.Tally, error)
}
