package main

import (
	"github.com/spf13/cobra"

	"millrace/chaos"
)

// brokerCommand is the embedded broker of a run, in a process of its own.
func brokerCommand() *cobra.Command {
	var dir, advertise string
	var port int
	cmd := &cobra.Command{
		Use: "broker", Short: "Serve the embedded broker for one run", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return chaos.RunBroker(cmd.Context(), dir, port, advertise)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "where the broker keeps its data")
	cmd.Flags().IntVar(&port, "port", 0, "the port it serves")
	cmd.Flags().StringVar(&advertise, "advertise", "", "the address that it tells clients")
	return cmd
}
