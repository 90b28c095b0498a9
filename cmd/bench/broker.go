package main

import (
	"time"

	"github.com/spf13/cobra"

	"millrace/bench/rig"
)

// brokerCommand is the broker of a round, in a process of its own.
func brokerCommand() *cobra.Command {
	var dir string
	var delay time.Duration
	cmd := &cobra.Command{
		Use: "broker", Short: "Serve the embedded broker for one round", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return rig.RunBroker(cmd.Context(), dir, delay) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "where the broker keeps its data and tells its address")
	cmd.Flags().DurationVar(&delay, "delay", 0, "how much longer each round trip takes")
	_ = cmd.MarkFlagRequired("dir") // it fails for a flag that does not exist
	return cmd
}
