package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/config"
	"millrace/demo"
	"millrace/embedded"
)

// defaultURL is where a router listens that nobody configured.
const defaultURL = "http://127.0.0.1:8080"

func demoCommand() *cobra.Command {
	options := demo.Options{Orders: demo.DefaultOrders, Rate: demo.DefaultRate, Wait: demo.DefaultWait}
	mix := demo.DefaultMix().String()
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Place orders against a running router and account for each of them",
		Long: `Places orders at a fixed rate against a running router, over HTTP, and waits
until each has ended. Prints outcomes, latencies, one order's story across the
services, and whether stock and money add up. Exit code 1 if any order did not
end as its scenario must, 130 if interrupted.

Latency is measured from when an order was to arrive: a slow router cannot hide
by slowing down the demo. The scenarios, for --mix name=weight,name=weight:

` + listScenarios() + `
Where the router asks who is calling (AUTH), set API_KEY, or API_TOKEN to a bearer
token. Its scope is shop; with operator too, the demo resolves what needs attention.`,
		Example: `  router demo
  router demo --orders 2000 --rate 100
  router demo --mix accepted=90,declined=10 --output json`,
	}
	cmd.Flags().IntVar(&options.Orders, "orders", options.Orders, "how many orders to place")
	cmd.Flags().Float64Var(&options.Rate, "rate", options.Rate, "orders a second, however fast the router answers")
	cmd.Flags().StringVar(&mix, "mix", "", "scenarios and their weights (default: all, mostly accepted)")
	cmd.Flags().DurationVar(&options.Wait, "wait", options.Wait, "how long an order may take to end: ORDER_DEADLINE and 30s")
	cmd.Flags().StringVar(&options.URL, "url", "", "the router (default: the one that runs on DATA_DIR, else "+defaultURL+")")
	cmd.Flags().StringVar(&options.APIKey, "api-key", "", "an API key (default: API_KEY from the environment, which is not shown in process lists)")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		options.Mix = demo.DefaultMix()
		var err error
		if cmd.Flags().Changed("mix") {
			if options.Mix, err = demo.ParseMix(mix); err != nil {
				return usageError{fmt.Errorf("--mix: %w", err)}
			}
		}
		if !cmd.Flags().Changed("url") {
			if options.URL, err = runningURL(); err != nil {
				return err
			}
		}
		if options.APIKey == "" {
			options.APIKey = os.Getenv("API_KEY")
		}
		options.Token = os.Getenv("API_TOKEN")
		options.Progress = cmd.ErrOrStderr()
		options.Live = options.Progress == os.Stderr && term.IsTerminal(int(os.Stderr.Fd()))
		return runDemo(cmd, options, output.value)
	}
	return cmd
}

func runDemo(cmd *cobra.Command, options demo.Options, output string) error {
	report, err := demo.Run(cmd.Context(), options)
	if errors.As(err, &demo.UsageError{}) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if output == "json" {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		err = report.WriteText(cmd.OutOrStdout())
	}
	switch {
	case err != nil:
		return fmt.Errorf("print the report: %w", err)
	case report.Interrupted:
		return fmt.Errorf("demo: %w", cmd.Context().Err())
	case len(report.Problems) > 0:
		return fmt.Errorf("demo: not everything is accounted for, see the %d problems above", len(report.Problems))
	}
	return nil
}

// runningURL finds the router of this machine.
func runningURL() (string, error) {
	cfg, err := config.Load(config.Environ())
	if err != nil {
		return "", usageError{err}
	}
	endpoints, err := embedded.ReadEndpoints(cfg.DataDir)
	if errors.Is(err, embedded.ErrNotRunning) || err == nil && endpoints.HTTP == "" {
		return defaultURL, nil // with real servers there is no data directory
	}
	if err != nil {
		return "", err
	}
	return endpoints.HTTP, nil
}

func listScenarios() string {
	var b strings.Builder
	for _, s := range demo.Scenarios() {
		fmt.Fprintf(&b, "  %-17s %s\n", s.Name, s.About)
	}
	return b.String()
}
