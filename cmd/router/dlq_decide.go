package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"millrace/deadletter"
)

// decision is a command that settles letters one by one, with a reason.
func decision(cmd *cobra.Command, done string, decide func(ctx context.Context, desk *deadletter.Desk, id, reason string) error) *cobra.Command {
	cmd.Args = cobra.MinimumNArgs(1)
	reason := cmd.Flags().String("reason", "", "why, for the letter's story (needed)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return usageError{errors.New(`--reason is needed, for instance --reason "duplicate of ticket 4711"`)}
		}
		return withDesks(cmd.Context(), func(ctx context.Context, d *desks) error {
			for _, id := range args {
				desk, l, err := d.find(ctx, id)
				if err != nil {
					return err
				}
				if err := decide(ctx, desk, l.ID, *reason); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", l.ID, done)
			}
			return nil
		})
	}
	return cmd
}

func dlqDropCommand() *cobra.Command {
	return decision(&cobra.Command{
		Use:   "drop <letter>…",
		Short: "Give letters up; what waits behind them goes on",
		Long: `Give letters up. Their messages count as processed, without having had an effect; what waits behind them
goes on. restore takes a dropped letter up again.`,
		Example: `  router dlq drop 3f1c9a --reason "test order"`,
	}, "dropped", func(ctx context.Context, desk *deadletter.Desk, id, reason string) error {
		return desk.Drop(ctx, id, reason)
	})
}

func dlqRestoreCommand() *cobra.Command {
	return decision(&cobra.Command{
		Use:     "restore <letter>…",
		Short:   "Take dropped letters up again",
		Example: `  router dlq restore 3f1c9a --reason "dropped by mistake"`,
	}, "restored", func(ctx context.Context, desk *deadletter.Desk, id, reason string) error {
		return desk.Restore(ctx, id, reason)
	})
}

func dlqResumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume <service>",
		Short: "Have a paused service take messages again",
		Long: `Has a service take messages again that was paused because too many failed alike. Mend it first: what failed is tried
again, and if it fails as before, and as much, the service is paused once more.`,
		Args:    cobra.ExactArgs(1),
		Example: `  router dlq resume payment --reason "fixed in 1.4.2"`,
	}
	reason := cmd.Flags().String("reason", "", "why (needed)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *reason == "" {
			return usageError{errors.New(`--reason is needed, for instance --reason "fixed in 1.4.2"`)}
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
					fmt.Fprintf(cmd.OutOrStdout(), "%s takes messages again; it was paused since %s by group %s: %s\n", p.Service, p.Since.Format(time.RFC3339), p.Fingerprint, oneLine(p.Error, errorWidth))
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
