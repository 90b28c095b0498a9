package deadletter

import (
	"context"
	"errors"
	"time"

	"millrace/outbox"
)

const (
	// heldPatience is how long a message waits for its order's row, which somebody else holds. An ordinary
	// transaction takes milliseconds; with a longer one, the message comes again.
	heldPatience = time.Second
	// heldPause is the pause between two tries: a batch goes round a held row.
	heldPause = 20 * time.Millisecond
)

// errHeld means: the order's row is held by somebody else.
var errHeld = errors.New("the order's row is held by somebody else")

// member is one part of a batch. Everything in it belongs to whoever writes the batch, until the caller has its answer.
type member struct {
	held bool  // somebody else holds its row: nothing was written of it
	err  error // what the database has against it
}

// untilFree has a batch written that a member is part of; again, as long as it finds its row held.
func untilFree(ctx context.Context, m *member, write func() error) error {
	for deadline := time.Now().Add(heldPatience); ; {
		if err := write(); err != nil {
			return err // the batch may be at it still: m is not ours
		}
		switch {
		case m.err != nil:
			return m.err
		case !m.held:
			return nil
		case time.Now().After(deadline):
			return errHeld
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(heldPause):
		}
	}
}

// bisected writes a batch. What the database refuses of it for the sake of one member's data (of its order's
// row, say) is written by halves, until that member is alone with its error.
func bisected[T any](ctx context.Context, batch []T, of func(T) *member, write func(context.Context, []T) error) error {
	err := write(ctx, batch)
	if !outbox.IsRefused(err) {
		return err
	}
	if len(batch) == 1 {
		of(batch[0]).err = err
		return nil
	}
	half := len(batch) / 2
	if err := bisected(ctx, batch[:half], of, write); err != nil {
		return err
	}
	return bisected(ctx, batch[half:], of, write)
}
