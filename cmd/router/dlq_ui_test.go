package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"millrace/cmd/exit"
)

// Found out before a database is asked for.
func TestScreenWithoutATerminal(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://shop@127.0.0.1:1/shop")
	for args, want := range map[string]string{
		"dlq ui":         "dlq ui needs a terminal",
		"dlq ui sinc:2h": `there is no field "sinc"`,
	} {
		root := rootCommand()
		root.SetArgs(strings.Fields(args))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if !errors.As(err, &exit.UsageError{}) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestWarningsAreKept(t *testing.T) {
	var log keptLog
	for range 3 {
		if n, err := log.Write([]byte(strings.Repeat("x", maxKeptLog/2))); n != maxKeptLog/2 || err != nil {
			t.Fatal(n, err)
		}
	}
	var out strings.Builder
	log.print(&out)
	if want := strings.Repeat("x", maxKeptLog) + "(8192 more bytes of warnings)\n"; out.String() != want {
		t.Errorf("%d bytes are printed, want %d", out.Len(), len(want))
	}
}
