package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/deadletter/plural"
)

// decision is a command that settles letters one by one, with a reason.
type decision struct {
	verb, done string
	status     string                       // which letters it is for, in words
	example    string                       // a reason
	fits       func(deadletter.Status) bool // for a choice by filter: the others are passed over
	decide     func(ctx context.Context, desk *deadletter.Desk, id, reason string) error
}

// noService is the error for a service that is none, with a guess at what was meant.
func noService(name string) error {
	guess := ""
	if like := filter.Guess(name, config.AllServices()); like != "" {
		guess = "did you mean " + like + "? "
	}
	return fmt.Errorf("there is no service %q: %sthere are %s", name, guess, strings.Join(config.AllServices(), ", "))
}

// found is a letter and the desk it is decided about at.
type found struct {
	desk   *deadletter.Desk
	letter *deadletter.Letter
}

func (n decision) command(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	var c choice
	c.addFlags(cmd)
	reason := cmd.Flags().String("reason", "", "why, for the letter's story (needed)")
	yes := cmd.Flags().Bool("yes", false, "with --group or --filter: do not ask; needed where nobody can be asked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return exit.Misuse(fmt.Errorf("--reason is needed, for instance --reason %q", n.example))
		}
		if err := c.check(cmd, args, 0); err != nil {
			return err
		}
		if len(args) == 0 && !*yes && !interactive() {
			return errNobody
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			list, err := n.chosen(ctx, d, c)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				printNoneChosen(cmd.OutOrStdout(), n.status)
				return nil
			}
			if len(args) == 0 && !*yes && !confirmed(ctx, cmd, fmt.Sprintf("%s %s (%s)?", n.verb, plural.Of(len(list), "letter", "letters"), oneLine(c.text(), pipeText))) {
				return errors.New("nothing was changed")
			}
			failed := 0
			for _, f := range list {
				err := n.decide(ctx, f.desk, f.letter.ID, *reason)
				switch {
				case ctx.Err() != nil:
					return ctx.Err()
				case errors.Is(err, deadletter.ErrProcessed):
					fmt.Fprintln(cmd.OutOrStdout(), err)
				case err != nil:
					failed++
					fmt.Fprintln(cmd.ErrOrStderr(), "router:", err)
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", f.letter.ID, n.done)
				}
			}
			if failed > 0 {
				return leftAsTheyAre(failed, len(list))
			}
			return nil
		})
	}
	return cmd
}

// leftAsTheyAre is the error where some of many letters could not be changed.
func leftAsTheyAre(failed, all int) error {
	return fmt.Errorf("%d of %s %s", failed, plural.Of(all, "letter", "letters"), plural.Word(failed, "was left as it is", "were left as they are"))
}

// chosen are the letters, frozen: what comes later does not join them. Every id must be one of a letter.
func (n decision) chosen(ctx context.Context, d *desks, c choice) (list []found, err error) {
	if len(c.ids) > 0 {
		for _, id := range c.ids {
			desk, l, err := d.find(ctx, id)
			if err != nil {
				return nil, err
			}
			list = append(list, found{desk, l})
		}
		return list, nil
	}
	condition, err := c.parsed()
	if err != nil {
		return nil, err
	}
	for _, desk := range d.all {
		err := desk.Export(ctx, condition, false, func(l *deadletter.Letter) error {
			if n.fits(l.Status) {
				list = append(list, found{desk, &deadletter.Letter{ID: l.ID}}) // the bodies of all would be too much
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func dlqDropCommand() *cobra.Command {
	return decision{"Drop", "dropped", "new, retrying or redriving", "duplicate of ticket 4711", func(s deadletter.Status) bool { return s.Open() },
		func(ctx context.Context, desk *deadletter.Desk, id, reason string) error {
			return desk.Drop(ctx, id, reason)
		}}.command(&cobra.Command{
		Use:   "drop [letter…]",
		Short: "Give letters up; what waits behind them goes on",
		Long: `Gives letters up. Their messages count as processed, without having had an effect; what waits behind them
goes on. restore takes a dropped letter up again.`,
		Example: `  router dlq drop 3f1c9a --reason "test order"
  router dlq drop --filter 'service:notification until:2026-01-31' --reason "nobody wants to be told now"`,
		ValidArgsFunction: completeLetters("status:new or status:retrying or status:redriving"),
	})
}

func dlqRestoreCommand() *cobra.Command {
	return decision{"Restore", "restored", "dropped", "dropped by mistake", func(s deadletter.Status) bool { return s == deadletter.Dropped },
		func(ctx context.Context, desk *deadletter.Desk, id, reason string) error {
			return desk.Restore(ctx, id, reason)
		}}.command(&cobra.Command{
		Use:   "restore [letter…]",
		Short: "Take dropped letters up again",
		Long: `Takes dropped letters up again: each waits as if it had just failed, and so do messages of its order that come
from now on. What was processed in between stays processed.`,
		Example: `  router dlq restore 3f1c9a --reason "dropped by mistake"
  router dlq restore --filter 'status:dropped last>2h' --reason "wrong group"`,
		ValidArgsFunction: completeLetters("status:dropped"),
	})
}

func dlqResumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume <service>",
		Short: "Have a paused service take messages again",
		Long: `Has a service take messages again that was paused because too many failed alike. Mend it first: what failed is tried
again, and if it fails as before, and as much, the service is paused once more.`,
		Args:              cobra.ExactArgs(1),
		Example:           `  router dlq resume payment --reason "fixed in 1.4.2"`,
		ValidArgsFunction: completeServices,
	}
	reason := cmd.Flags().String("reason", "", "why (needed)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return exit.Misuse(errors.New(`--reason is needed, for instance --reason "fixed in 1.4.2"`))
		}
		if !slices.Contains(config.AllServices(), args[0]) {
			return exit.Misuse(noService(args[0]))
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			n := 0
			for _, desk := range d.all {
				list, err := desk.Resume(ctx, args[0], *reason)
				if err != nil {
					return err
				}
				for _, p := range list {
					n++
					fmt.Fprintf(cmd.OutOrStdout(), "%s takes messages again; it was paused since %s, because %s\n", p.Service, p.Since.Local().Format(time.DateTime), whyPaused(p))
				}
			}
			if n == 0 {
				return fmt.Errorf("%s is not paused", args[0])
			}
			return nil
		})
	}
	return cmd
}
