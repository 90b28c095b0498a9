package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
)

// lostRecords is what must come about where records are gone for good: that is said, and nothing else is wrong.
func lostRecords(v *Verdict) (why []string) {
	// What was published or heard is not to be seen any more, so that an order may never end; but what was done was done once.
	allowed := []string{"I1", "I5", "I6", "I7", "I8", "I13"}
	for id, n := range v.violated() {
		if !slices.Contains(allowed, id) {
			why = append(why, fmt.Sprintf("%d violations of %s, which records that are gone do not explain", n, id))
		}
	}
	if v.OK && len(v.Warnings) == 0 {
		why = append(why, "router verify has noticed nothing")
	}
	return why
}

// settleLetters redrives what became letters, which fails again, and then drops it.
func settleLetters(ctx context.Context, y *system, say func(string, ...any)) error {
	return errors.Join(y.redrive(ctx, say), y.drop(ctx, say))
}

// redriveTwice redrives everything twice at once, while a router dies, before it drops what is left.
func redriveTwice(ctx context.Context, y *system, say func(string, ...any)) error {
	failed := make(chan error, 2)
	for range 2 {
		go func() { failed <- y.redrive(ctx, say) }()
	}
	y.replicas[0].kill()
	err := errors.Join(y.replicas[0].start(), <-failed, <-failed, y.awaitReady(ctx))
	return errors.Join(err, y.drop(ctx, say))
}

// someLetters are all that are not settled.
const someLetters = "status:new or status:retrying"

// redrive: that some fail again is no error here, they are as bad as before.
func (y *system) redrive(ctx context.Context, say func(string, ...any)) error {
	return y.tool(ctx, say, "dlq", "redrive", "--filter", someLetters, "--yes", "--reason", "perhaps it is better now")
}

func (y *system) drop(ctx context.Context, say func(string, ...any)) error {
	return y.tool(ctx, say, "dlq", "drop", "--filter", someLetters, "--yes", "--reason", "nothing can be made of it")
}

// tool runs one of the router's other commands. Exit code 1 is its word on what it found.
func (y *system) tool(ctx context.Context, say func(string, ...any), args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, y.programs.Router, args...)
	cmd.Env = y.toolEnv()
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("router %v: %w: %s", args, err, out)
	}
	say("router %s %s: %s", args[0], args[1], lastLine(out))
	return nil
}

func restartRouters(ctx context.Context, y *system, _ func(string, ...any)) error {
	var err error
	for _, r := range y.replicas {
		r.kill() // one that cannot publish may not be able to end well
		err = errors.Join(err, r.start())
	}
	return errors.Join(err, y.awaitReady(ctx))
}
