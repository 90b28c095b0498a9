package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"millrace/cmd/exit"
)

// Mistakes are found before anything is built or started.
func TestMistakesAreUsageErrors(t *testing.T) {
	t.Chdir(t.TempDir()) // no report here
	for line, want := range map[string]string{
		"run --quick --smoke":         "exclude each other",
		"run --kafka redpanda":        `"redpanda"`,
		"run --rounds -1":             "-1",
		"run --output yaml":           `"yaml"`,
		"run --only nothing":          `"nothing"; there are`,
		"run now":                     "no arguments",
		"report":                      "one file of rows",
		"compare one two":             "at most one",
		"compare":                     "nothing to compare with",
		"compare --then no-such-file": "no-such-file",
		"run --no-such-flag":          "no-such-flag",
		"stock --variant slow --database x --brokers y": "slow",
	} {
		root := rootCommand()
		root.SetArgs(strings.Fields(line))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if !errors.As(err, &exit.UsageError{}) || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %s: %v, which should be a usage error with %q", line, err, want)
		}
	}
}
