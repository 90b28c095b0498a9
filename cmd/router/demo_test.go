package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"millrace/cmd/exit"
)

func TestDemoRefusesWhatItCannotDo(t *testing.T) {
	t.Setenv("DATA_DIR", t.TempDir())
	for args, test := range map[string]struct {
		want  string
		usage bool
	}{
		"--mix accpeted=1":         {`--mix: there is no scenario "accpeted": there are accepted, collected,`, true},
		"--orders 0":               {"--orders 0: it must be 1 to", true},
		"--rate fast":              {`--rate takes a number, not "fast"`, true},
		"--output yaml":            {"it is one of table, json", true},
		"--url shop.example":       {`--url "shop.example": it must be like http://127.0.0.1:8080`, true},
		"now":                      {`unknown command "now" for "router demo"`, true},
		"--url http://127.0.0.1:1": {"no router answers at http://127.0.0.1:1: start one with router serve (make run), or give --url", false},
	} {
		root := rootCommand()
		root.SetArgs(append([]string{"demo"}, strings.Fields(args)...))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &exit.UsageError{}) != test.usage {
			t.Errorf("demo %s: want %q, usage %v; got %v", args, test.want, test.usage, err)
		}
	}
}

func TestDemoHelpListsScenarios(t *testing.T) {
	var out bytes.Buffer
	root := rootCommand()
	root.SetArgs([]string{"demo", "--help"})
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"refund-refused    cancelled, the refund is refused", "--rate", "API_KEY"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help does not have %q", want)
		}
	}
}
