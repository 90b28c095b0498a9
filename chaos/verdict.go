package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// The files of a run.
const (
	acceptedFile = "accepted.txt"
	verifyFile   = "verify.json"
	scheduleFile = "schedule.txt"
	resultFile   = "result.json"
)

const (
	// restPatience is how long the system may take to come to rest: every deadline, a backlog, a session that has
	// to run out, on a busy machine.
	restPatience = 3 * time.Minute
	// lookPatience is for the look itself.
	lookPatience = 2 * time.Minute
	// mostListed is how many violations and orders that have not ended verify is to describe: all that a run has.
	mostListed = "10000"
)

// Verdict is what router verify says, as far as it is used here.
type Verdict struct {
	OK         bool  `json:"ok"`
	Violations int64 `json:"violations"`
	Counts     struct {
		Orders     int64 `json:"orders"`
		Records    int64 `json:"records"`
		Duplicates int64 `json:"duplicates"`
		Foreign    int64 `json:"foreign"`
		Letters    int64 `json:"letters"`
		Parked     int64 `json:"parked"`
		Outbox     int64 `json:"outbox"`
	} `json:"counts"`
	Invariants []struct {
		ID         string `json:"id"`
		Violations int64  `json:"violations"`
		Examples   []struct {
			Order  string `json:"order"`
			Reason string `json:"reason"`
		} `json:"examples"`
	} `json:"invariants"`
	// Listed are the first orders that have not ended, with their reasons; a run's result has their count alone.
	Listed []struct {
		Order   string   `json:"order"`
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	} `json:"listed,omitempty"`
	ListedCount int64    `json:"listedCount"`
	Warnings    []string `json:"warnings"`
}

// violated are the invariants that do not hold.
func (v *Verdict) violated() map[string]int64 {
	list := map[string]int64{}
	for _, i := range v.Invariants {
		if i.Violations > 0 {
			list[i.ID] = i.Violations
		}
	}
	return list
}

// keptExamples are how many violations of an invariant a result has; the run's directory has all.
const keptExamples = 10

// shorten leaves out what nobody reads in a line of results.
func (v *Verdict) shorten() {
	v.Listed = nil
	for i := range v.Invariants {
		v.Invariants[i].Examples = v.Invariants[i].Examples[:min(keptExamples, len(v.Invariants[i].Examples))]
	}
}

// example is one violation, for a line.
func (v *Verdict) example() string {
	for _, i := range v.Invariants {
		for _, e := range i.Examples {
			return i.ID + ": " + e.Order + " " + e.Reason
		}
	}
	return ""
}

// verify waits for the system to come to rest, and has the router's own command judge it.
func (y *system) verify(ctx context.Context) (*Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, restPatience+lookPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, y.programs.Router, "verify", "--at-rest", "--wait", restPatience.String(), "--output", "json", "--examples", mostListed,
		"--accepted", filepath.Join(y.dir, acceptedFile))
	cmd.Env = y.toolEnv()
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	failed := cmd.Run()
	if err := os.WriteFile(filepath.Join(y.dir, verifyFile), out.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("keep what verify says: %w", err)
	}
	v := &Verdict{}
	if err := json.Unmarshal(out.Bytes(), v); err != nil {
		return nil, fmt.Errorf("router verify could not look (%v): %s", failed, complaint.String()) //nolint:errorlint // there may be none
	}
	if exit := new(exec.ExitError); failed != nil && !errors.As(failed, &exit) {
		return nil, fmt.Errorf("run router verify: %w", failed)
	}
	if v.OK != (failed == nil) {
		return nil, fmt.Errorf("router verify says ok: %v, and its exit says %v: %s", v.OK, failed, complaint.String()) //nolint:errorlint // there may be none
	}
	return v, nil
}
