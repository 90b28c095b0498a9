package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// scratch is for the router binary, and for what the tours make.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "millrace-tour-test-"); err == nil {
		// As root, the tour's Postgres runs as another user, who has to pass through.
		err = errors.Join(os.Chmod(scratch, 0o711), os.Setenv("TMPDIR", scratch))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the tours:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch) // what is left is temporary anyway
	os.Exit(code)
}

// router is built once, with the race detector in it, as the stories' is.
var router = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "router")
	if output, err := exec.Command("go", "build", "-race", "-o", path, "millrace/cmd/router").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the router: %w\n%s", err, output)
	}
	return path, nil
})

func routerPath(t *testing.T) string {
	t.Helper()
	path, err := router()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Unattended, the tour comes to its end, and every step shows what it is there to show. What it says of orders and parcels
// it has checked itself. The caller's own servers are not asked for anything.
func TestTheTourUnattended(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	t.Setenv("KAFKA_BROKERS", "127.0.0.1:1")
	t.Setenv("SERVICES", "order")
	t.Setenv("API_KEYS_FILE", "/nowhere")
	var out bytes.Buffer
	err := run(t.Context(), &guide{out: &out}, routerPath(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	for _, want := range []string{
		"1 of 6.", "$ DATA_DIR=", "ready after",
		"2 of 6.", "SQL> ALTER TABLE shipping.shipments ADD CONSTRAINT", "-> 202", "emmy", "DELIVERED", "/cancel -> 202",
		"3 of 6.", "/readyz?verbose", "letters of shipping: ", "$ router dlq groups", "no_parcels_to_gb", "$ router dlq list", "$ router dlq show", "fails again",
		"4 of 6.", "--dry-run", "fails again", "DROP CONSTRAINT", "--dry-run", "applied",
		"5 of 6.", "$ router dlq redrive", "--yes",
		"6 of 6.", "CANCELLED CUSTOMER", "PREPARING", "$ router dlq show", "resolved", "$ router dlq list status:new",
		"That was all.",
	} {
		_, after, found := strings.Cut(text, want)
		if !found {
			t.Errorf("the tour does not show %q where it should; it said:\n%s", want, out.String())
			break
		}
		text = after
	}
	nothingIsLeft(t)
}

// Where somebody listens, it waits for Enter between the chapters; Ctrl-C ends it, and all it has started.
func TestTheTourCanBeLeft(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var out safeBuffer
	enter := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, &guide{out: &out, enter: enter, bold: true}, routerPath(t)) }()
	for range 2 { // taken at the end of the first chapter, and of the second
		select {
		case enter <- struct{}{}:
		case err := <-ended:
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want to be told that it was interrupted", err)
	}
	if text := out.String(); !strings.Contains(text, "3 of 6.") || strings.Contains(text, "6 of 6.") || !strings.Contains(text, "[Enter goes on") || !strings.Contains(text, "\x1b[1m") {
		t.Errorf("it said\n%s", text)
	}
	nothingIsLeft(t)
}

// Who listens may try commands out: the tour goes on with what they led to, and says so.
func TestTheTourBearsDecisionsOfOthers(t *testing.T) {
	var out safeBuffer
	enter := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- run(t.Context(), &guide{out: &out, enter: enter}, routerPath(t)) }()
	press := func() {
		select {
		case enter <- struct{}{}:
		case err := <-ended:
			t.Fatalf("%v\n%s", err, out.String())
		}
	}
	press()
	if err := await(t.Context(), patience, "both letters are there", func(context.Context) (bool, error) {
		return strings.Count(out.String(), "[Enter goes on") == 2, nil
	}); err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(out.String(), "export DATA_DIR=")
	dir, _, _ := strings.Cut(after, "\n")
	drop := exec.Command(routerPath(t), "dlq", "drop", "--filter", "service:shipping", "--yes", "--reason", "let us see")
	drop.Env = append(foreign(os.Environ()), "DATA_DIR="+dir)
	if output, err := drop.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, output, out.String())
	}
	go func() {
		for {
			select {
			case enter <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"[i] letters of shipping: ", "meets this choice", "the letter about ada's order was dropped", "the letter about grace's order was dropped", "That was all."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
	nothingIsLeft(t)
}

// nothingIsLeft looks for directories and processes of tours.
func nothingIsLeft(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(scratch, "millrace-tour-*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	processes, err := exec.Command("ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(processes)) {
		if strings.Contains(line, scratch) && !strings.Contains(line, "ps -eo") {
			t.Errorf("a process is left: %s", line)
		}
	}
}

func TestTheTourSaysWhatIsMissing(t *testing.T) {
	err := run(t.Context(), &guide{out: new(bytes.Buffer)}, filepath.Join(scratch, "no-router"))
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Error(err)
	}
	// A program that is no router ends at once; the tour does not wait for it.
	err = run(t.Context(), &guide{out: new(bytes.Buffer)}, "/bin/false")
	if err == nil || !strings.Contains(err.Error(), "ended at its start") {
		t.Error(err)
	}
	nothingIsLeft(t)
}

func TestTheCallersSettingsAreNotTheTours(t *testing.T) {
	got := foreign([]string{"PATH=/bin", "DATABASE_URL=x", "DATABASE_URL_FILE=y", "KAFKA_BROKERS=z", "HTTPS_PROXY=p", "DLQ_USER=u", "DATA_DIR=d"})
	if want := []string{"PATH=/bin", "HTTPS_PROXY=p"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestACommandIsShownAsItIsTyped(t *testing.T) {
	args := []string{"dlq", "redrive", "--reason", "the rule is gone", "--filter", `error~"it's"`, ""}
	output, err := exec.Command("sh", "-c", "for a in "+typed(args)+`; do printf '%s\n' "$a"; done`).Output()
	if err != nil || string(output) != strings.Join(args, "\n")+"\n" {
		t.Errorf("%s becomes %q, %v", typed(args), output, err)
	}
}

// safeBuffer is written by a tour while the test reads it.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
