package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"millrace/embedded/child"
)

const (
	// readyPatience is how long a process may take until it is ready. Theirs make their tables and join
	// groups one after the other.
	readyPatience = time.Minute
	// readyPoll is how often it is asked: often, for a start is one of the figures.
	readyPoll = 5 * time.Millisecond
	// stopPatience is how long one may take to end when asked: longer than a router's own patience.
	stopPatience = 30 * time.Second
)

// Process is a running process of a round.
type Process struct {
	// Name is what its costs are called.
	Name string

	process *child.Process
}

// Start runs a program until the round is closed, and returns when ready answers nil. Its output goes
// to a log of its own. It gets the environment in cmd.Env and, of the bench's, only what says where
// programs and files are.
func (o *Round) Start(ctx context.Context, name string, cmd *exec.Cmd, ready func(context.Context) error) (*Process, error) {
	inherited := []string{"TMPDIR=" + os.TempDir()}
	for _, variable := range []string{"PATH", "HOME", "PG_BIN"} {
		if value := os.Getenv(variable); value != "" {
			inherited = append(inherited, variable+"="+value)
		}
	}
	cmd.Env = append(inherited, cmd.Env...)
	log := filepath.Join(o.rig.dir, "logs", fmt.Sprintf("%s-%s.log", filepath.Base(o.dir), name))
	process, err := child.Start(cmd, syscall.SIGKILL, log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, process: process}
	o.mu.Lock()
	o.processes = append(o.processes, p)
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return p, nil
		}
		select {
		case <-process.Done():
			return nil, fmt.Errorf("%s ended at its start (%v); %s", name, process.Err(), process.LogTail()) //nolint:errorlint // there may be none
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is not ready after %s: %w; %s", name, readyPatience, err, process.LogTail())
		case <-tick.C:
		}
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.process.PID() }

// Failed tells why the process has ended before it was stopped; nil while it runs.
func (p *Process) Failed() error {
	select {
	case <-p.process.Done():
		return fmt.Errorf("%s ended (%v); %s", p.Name, p.process.Err(), p.process.LogTail()) //nolint:errorlint // there may be none
	default:
		return nil
	}
}

// Stop asks the process to end, kills it if it does not, and says so. It may be called again.
func (p *Process) Stop() error {
	if err := p.Failed(); err != nil && p.process.Err() != nil {
		return err
	}
	begin := time.Now()
	p.process.Stop(stopPatience, syscall.SIGTERM)
	if time.Since(begin) >= stopPatience {
		return fmt.Errorf("%s did not end within %s and was killed; %s", p.Name, stopPatience, p.process.LogTail())
	}
	return nil
}
