package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
)

// watchEvery is how soon something is told.
const watchEvery = time.Second

func dlqWatchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [filter…]",
		Short: "Letters and what becomes of them, as it happens",
		Long: `Tells of new letters, of what is done to letters, and of services that are paused, as it happens, one line each. Ctrl-C
ends it.`,
		Args: cobra.ArbitraryArgs,
		Example: `  router dlq watch
  router dlq watch service:payment
  router dlq watch --output json | jq -r .error`,
		ValidArgsFunction: completeFilter,
	}
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		condition, err := parseFilter(args)
		if err != nil {
			return err
		}
		err = withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			w := watcher{out: cmd.OutOrStdout(), json: output.value == "json"}
			for _, desk := range d.all {
				follower, err := desk.Follow(ctx, condition)
				if err != nil {
					return err
				}
				w.followers = append(w.followers, follower)
			}
			if !w.json {
				fmt.Fprintln(cmd.ErrOrStderr(), "Watching; Ctrl-C ends it.")
			}
			return w.run(ctx, cmd.ErrOrStderr())
		})
		if cmd.Context().Err() != nil {
			return nil // that is how it ends
		}
		return err
	}
	return cmd
}

type watcher struct {
	out       io.Writer
	json      bool
	followers []*deadletter.Follower // one for each database
	failed    error                  // of writing: nobody reads on
}

// run tells what happens until ctx ends, or nobody reads any more. A database that does not answer is told once, and asked again.
func (w *watcher) run(ctx context.Context, complain io.Writer) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	trouble := false
	for {
		var err error
		for _, f := range w.followers {
			if e := f.Next(ctx, w.happened); e != nil {
				err = e
			}
		}
		switch {
		case w.failed != nil:
			return w.failed
		case ctx.Err() != nil:
			return nil
		case err != nil && !trouble:
			fmt.Fprintf(complain, "router: %v; still trying\n", err)
		case err == nil && trouble:
			fmt.Fprintln(complain, "router: the database answers again")
		}
		trouble = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// happened prints one line.
func (w *watcher) happened(h deadletter.Happening) {
	if w.failed != nil {
		return
	}
	if w.json {
		h.At = h.At.UTC()
		w.failed = writeLine(w.out, h)
		return
	}
	text := h.Error // why it failed, or is paused
	if h.Who != "" {
		text = "by " + h.Who
		if h.Reason != "" {
			text += ": " + h.Reason
		}
	}
	line := fmt.Sprintf("%s  %-12s  %-12s  %-8s  %s", h.At.Local().Format(time.TimeOnly), h.What, h.Service, shortID(h.ID), clean(text))
	if width := terminalWidth(w.out); width > 0 {
		line = cut(line, width)
	}
	_, w.failed = fmt.Fprintln(w.out, line)
}
