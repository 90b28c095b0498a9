package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/ui"
	"millrace/router"
)

func dlqUICommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ui [filter…]",
		Short: "Look through dead letters in the terminal, and decide with a key",
		Long: `Shows dead letters on one screen: the kinds of failure, the letters of one, one letter with its body, what waits behind it,
and what a redrive would do; redrives, drops and restores them. It needs 40×12 characters, no mouse and no colours. ? shows the
keys. An unfinished redrive is taken up again with: router dlq redrive --resume.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFilter,
		Example: `  router dlq ui
  router dlq ui service:payment since:2h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			model, err := newScreen(args)
			if err != nil {
				return err
			}
			return withScreen(cmd.Context(), model)
		},
	}
}

// errNoTerminal says what else there is.
var errNoTerminal = errors.New("dlq ui needs a terminal that can move its cursor, for input and output; without one, use router dlq groups, list and show")

// newScreen finds out whether there can be one, before anything is started.
func newScreen(args []string) (func([]ui.Source) (*ui.Model, error), error) {
	if _, err := parseFilter(args); err != nil {
		return nil, err
	}
	if kind := os.Getenv("TERM"); kind == "" || kind == "dumb" || !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return nil, exit.Misuse(errNoTerminal)
	}
	return func(sources []ui.Source) (*ui.Model, error) {
		return ui.New(sources, letterFields, strings.Join(args, " "), time.Now())
	}, nil
}

// withScreen shows the screen. What is logged meanwhile is printed when it is gone.
func withScreen(ctx context.Context, screen func([]ui.Source) (*ui.Model, error)) error {
	var log keptLog
	err := withDesksLogging(ctx, &log, func(ctx context.Context, d *desks) error {
		var sources []ui.Source
		for _, desk := range d.all {
			sources = append(sources, letterSource{desk, d.flow})
		}
		model, err := screen(sources)
		if err != nil {
			return err
		}
		if warnings := log.String(); warnings != "" { // a database was left out, for instance
			model.Tell(warnings)
		}
		err = ui.Run(ctx, model, os.Stdin, os.Stdout)
		fmt.Fprint(os.Stderr, model.Farewell())
		return err
	})
	log.print(os.Stderr)
	return err
}

// maxKeptLog is how much of what is logged is kept. The first warnings tell most.
const maxKeptLog = 16 << 10

// keptLog keeps what is written while the screen is in use.
type keptLog struct {
	mu   sync.Mutex
	kept bytes.Buffer
	left int // bytes that were not kept
}

// Write implements io.Writer.
func (l *keptLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.Len()+len(p) > maxKeptLog {
		l.left += len(p)
		return len(p), nil
	}
	return l.kept.Write(p)
}

// String is what was kept.
func (l *keptLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}

func (l *keptLog) print(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.kept.WriteTo(w) // there is nobody left to tell
	if l.left > 0 {
		fmt.Fprintf(w, "(%d more bytes of warnings)\n", l.left)
	}
}

// letterSource is a database's letters, and what would become of them.
type letterSource struct {
	*deadletter.Desk
	flow router.Graph
}

// Verdict implements ui.Source.
func (s letterSource) Verdict(ctx context.Context, l *deadletter.Letter) string {
	return s.flow.Judge(ctx, l).Why
}
