//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// orphanPatience is how long a server left by a killed process gets to finish
	// the fast stop it was told to make at its parent's death.
	orphanPatience = 5 * time.Second
	// orphanPoll is how often we look whether it has.
	orphanPoll = 20 * time.Millisecond
)

// clearPostmasterPID makes a data directory startable whose last server was not
// stopped in order. A server still running on it is an orphan of ours, since
// whoever starts one holds the lock of the whole data directory: it is waited
// for, and told to stop if nobody did.
//
// After a power cut postmaster.pid may name a process that has nothing to do
// with it, and Postgres would refuse to start for fear of it. The file is not
// removed, because with it would go the check for backends that outlived their
// server: it is given our own process id, which Postgres, as our child, passes over.
func clearPostmasterPID(ctx context.Context, cluster string) error {
	path := filepath.Join(cluster, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the last Postgres left: %w", err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 || !alive(pid) {
		return nil // Postgres itself recognises a dead one
	}
	if runsPostmaster(pid, cluster) {
		return stopOrphan(ctx, pid, cluster)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600); err != nil {
		return fmt.Errorf("correct the process id a dead Postgres left: %w", err)
	}
	return nil
}

func stopOrphan(ctx context.Context, pid int, cluster string) error {
	for _, s := range []syscall.Signal{0, syscall.SIGINT, syscall.SIGQUIT} {
		_ = syscall.Kill(pid, s) // 0 only looks; a process that is gone is what we want
		for deadline := time.Now().Add(orphanPatience); time.Now().Before(deadline); {
			if !runsPostmaster(pid, cluster) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the last Postgres on %s to stop: %w", cluster, ctx.Err())
			case <-time.After(orphanPoll):
			}
		}
	}
	return fmt.Errorf("a Postgres without a parent (process %d) runs on %s and does not stop: stop it", pid, cluster)
}

// alive tells whether there is a process with that id; a zombie counts.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
