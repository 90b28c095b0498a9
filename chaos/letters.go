package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

const (
	// someLetters are all that are not settled.
	someLetters = "status:new or status:retrying or status:redriving"
	// redriveFailures is how many letters may fail again before a redrive asks for no more: each does, and that some are
	// left is no harm.
	redriveFailures = "20"
	// dropPatience is how long it may take until no letter is open: the lease of a router that died with some in hand, and
	// the tries of those that may pass.
	dropPatience = 90 * time.Second
)

// settleLetters redrives what became letters, which fails again, and then drops it.
func settleLetters(ctx context.Context, y *system, say func(string, ...any)) error {
	if err := y.awaitQuiet(ctx, say, quiet{}); err != nil { // what is yet to come would become a letter behind our back
		return err
	}
	return errors.Join(y.redrive(ctx, say), y.drop(ctx, say))
}

// redriveTwice redrives twice at once, while a router dies, before it drops what is left.
func redriveTwice(ctx context.Context, y *system, say func(string, ...any)) error {
	if err := y.awaitQuiet(ctx, say, quiet{}); err != nil {
		return err
	}
	failed := make(chan error, 2)
	for range 2 {
		go func() { failed <- y.redrive(ctx, say) }()
	}
	y.replicas[0].kill()
	err := errors.Join(y.replicas[0].start(), <-failed, <-failed, y.awaitReady(ctx), y.awaitQuiet(ctx, say, quiet{}))
	return errors.Join(err, y.drop(ctx, say))
}

// redrive: that some fail again is no error here, they are as bad as before.
func (y *system) redrive(ctx context.Context, say func(string, ...any)) error {
	return y.tool(ctx, say, "dlq", "redrive", "--filter", someLetters, "--yes", "--max-failures", redriveFailures, "--reason", "perhaps it is better now")
}

// drop drops letters until none is open: what was in somebody's hands cannot be dropped, and what waited behind one that
// was may fail in its turn.
func (y *system) drop(ctx context.Context, say func(string, ...any)) error {
	for deadline := time.Now().Add(dropPatience); ; {
		if err := y.tool(ctx, say, "dlq", "drop", "--filter", someLetters, "--yes", "--reason", "nothing can be made of it"); err != nil {
			return err
		}
		open, err := y.openLetters(ctx)
		switch {
		case err != nil:
			return err
		case len(open) == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("after %s letters are still open, by status: %v", dropPatience, open)
		}
		say("letters that are still open, by status: %v", open)
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// openLetters counts them by status.
func (y *system) openLetters(ctx context.Context) (map[string]int, error) {
	rows, err := y.database.admin.QueryContext(ctx, "SELECT status, count(*) FROM deadletter.letters WHERE status IN ('new', 'retrying', 'redriving', 'parked') GROUP BY status")
	if err != nil {
		return nil, fmt.Errorf("count the open letters: %w", err)
	}
	defer rows.Close()
	open := map[string]int{}
	for rows.Next() {
		var status string
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("count the open letters: %w", err)
		}
		open[status] = n
	}
	return open, rows.Err()
}

// exitFailed is the exit code of a router whose command was not done, or not wholly.
const exitFailed = 1

// tool runs one of the router's other commands. That it was not done wholly is said, and no error: whoever asked looks at
// what is left.
func (y *system) tool(ctx context.Context, say func(string, ...any), args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, y.programs.Router, args...)
	cmd.Env = y.toolEnv()
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == exitFailed {
		say("router %s %s, not wholly done: %s", args[0], args[1], lastLine(out))
		return nil
	}
	if err != nil {
		return fmt.Errorf("router %v: %w: %s", args, err, out)
	}
	say("router %s %s: %s", args[0], args[1], lastLine(out))
	return nil
}
