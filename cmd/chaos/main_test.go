package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"millrace/chaos"
	"millrace/cmd/exit"
)

func TestWrongUsageIsSaid(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--scenario nowhere", `no scenario "nowhere"`},
		{"--kafka none", `--kafka "none"`},
		{"--seeds 0", "at least one"},
		{"--race --router bin/router", "leave one out"},
		{"--nonsense", "--help"},
		{"something", "takes no arguments"},
	} {
		cmd := rootCommand()
		cmd.SetArgs(strings.Fields(c.args))
		err := cmd.ExecuteContext(t.Context())
		if !errors.As(err, &exit.UsageError{}) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("chaos %s: %v, want a mistake in its usage that says %q", c.args, err, c.says)
		}
	}
}

func TestTheListHasEverything(t *testing.T) {
	var out bytes.Buffer
	cmd := rootCommand()
	cmd.SetArgs([]string{"--list"})
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range chaos.Scenarios() {
		if !strings.Contains(out.String(), s.Name) {
			t.Errorf("--list has no scenario %s", s.Name)
		}
	}
	for _, f := range chaos.Faults() {
		if !strings.Contains(out.String(), f.Name) {
			t.Errorf("--list has no fault %s", f.Name)
		}
	}
}
