package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// quietPatience is how long it may take until nothing is on its way: every deadline, a session that has to run out,
	// a backlog, on a busy machine.
	quietPatience = 5 * time.Minute
	// quietPoll is between two looks, of which quietLooks in a row must find nothing: what has been heard may be said on.
	quietPoll  = 500 * time.Millisecond
	quietLooks = 3
	// stateStable is what a group is in that has members, and has told each what is its own.
	stateStable = "Stable"
)

// quiet is what must have come to its end.
type quiet struct {
	// but is the service that does not count; empty: all do.
	but string
	// waits: calls and deadlines count too, so that nothing comes by itself any more.
	waits bool
}

// quietAll: nothing goes on, nor will.
var quietAll = quiet{waits: true}

// awaitQuiet waits until all that was said has been heard, and tells for what.
func (y *system) awaitQuiet(ctx context.Context, say func(string, ...any), q quiet) error {
	ctx, cancel := context.WithTimeout(ctx, quietPatience)
	defer cancel()
	var left string
	for looks, first := 0, true; looks < quietLooks; first = false {
		now, err := y.onItsWay(ctx, q)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("after %s it is still not quiet: %s", quietPatience, left)
		case err != nil:
			left, looks = err.Error(), 0
		case now != "":
			left, looks = now, 0
		default:
			looks++
		}
		if first && left != "" {
			say("waiting until all is heard: %s", left)
		}
		sleep(ctx, quietPoll)
	}
	return nil
}

// stillToHear is how many records a group has before it in a partition: those that were removed it will never hear.
func stillToHear(p kadm.GroupMemberLag) int64 {
	if p.Err != nil || p.End.Err != nil {
		return 0 // of a topic that is gone nobody hears anything
	}
	return max(0, p.End.Offset-max(p.Commit.At, p.Start.Offset))
}

// onItsWay says what has not come to its end; empty: nothing.
func (y *system) onItsWay(ctx context.Context, q quiet) (string, error) {
	var unsent, waits, unheard int64
	var listening int
	err := y.database.admin.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM millrace.outbox), (SELECT count(*) FROM millrace.waits WHERE service <> ALL($1))", pq.Array([]string{q.but})).Scan(&unsent, &waits)
	if err != nil {
		return "", fmt.Errorf("look what is on its way: %w", err)
	}
	if !q.waits {
		waits = 0
	}
	err = y.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		names, err := groups(ctx, admin)
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == q.but+groupNames })
		lags, err := admin.Lag(ctx, names...)
		if err != nil {
			return err
		}
		for _, l := range lags.Sorted() {
			if err := l.Error(); err != nil {
				return err
			}
			if l.State == stateStable {
				listening++
			}
			for _, p := range l.Lag.Sorted() {
				unheard += stillToHear(p)
			}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("look what is on its way: %w", err)
	}
	if deaf := listeners(q) - listening; unsent+waits+unheard > 0 || deaf > 0 {
		return fmt.Sprintf("%d events not sent, %d not heard, %d waits, %d groups without members", unsent, unheard, waits, max(0, deaf)), nil
	}
	return "", nil
}

// listeners is how many groups have to be there: one that has been deleted, or has nobody yet, lags behind nothing.
func listeners(q quiet) int {
	if q.but != "" {
		return len(ordersOf) - 1
	}
	return len(ordersOf)
}
