package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"millrace/bench/rig"
	"millrace/bench/stock"
	"millrace/cmd/exit"
	"millrace/logging"
)

// stockCommand is the opponent's shop, in a process of its own.
func stockCommand() *cobra.Command {
	var c stock.Config
	var variant string
	cmd := &cobra.Command{
		Use: "stock", Short: "Serve the shop on stock Watermill for one round", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Settings, err = stock.Variant(variant); err != nil {
				return exit.Misuse(err)
			}
			if c.Logger, err = logging.New(os.Stderr, "text", slog.LevelWarn); err != nil {
				return err
			}
			slog.SetDefault(c.Logger)
			c.Ready = func(url string) { fmt.Fprintln(cmd.OutOrStdout(), "ready", url) }
			return stock.Run(cmd.Context(), c)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&variant, "variant", "documented", "documented or tuned")
	flags.StringVar(&c.Database, "database", "", "the address of an empty Postgres database")
	flags.StringSliceVar(&c.Brokers, "brokers", nil, "the Kafka brokers, host:port")
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:0", "where orders are taken; GET /readyz tells when")
	flags.IntVar(&c.Partitions, "partitions", rig.Partitions, "of each topic")
	flags.DurationVar(&c.OrderDeadline, "order-deadline", 20*time.Minute, "when an order that is not shipped is cancelled")
	flags.DurationVar(&c.PaymentDeadline, "payment-deadline", 15*time.Minute, "when a payment that is not decided is given up")
	flags.DurationVar(&c.CarrierStep, "carrier-step", time.Second, "how long the simulated carrier takes for a step")
	_ = cmd.MarkFlagRequired("database") // it fails for a flag that does not exist
	_ = cmd.MarkFlagRequired("brokers")
	return cmd
}
