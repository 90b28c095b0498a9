package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/demo"
	"millrace/embedded"
	"millrace/verify"
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
until each has ended. Prints outcomes, latencies, and one order's story across the
services; then, where the databases are configured or the router runs here, what
router verify finds. Exit code 1 if any order did not end as its scenario must or
verify found a violation, 130 if interrupted.

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
				return exit.Misuse(fmt.Errorf("--mix: %w", err))
			}
		}
		here, err := findRouter(&options.URL)
		if err != nil {
			return err
		}
		if options.APIKey == "" {
			options.APIKey = os.Getenv("API_KEY")
		}
		options.Token = os.Getenv("API_TOKEN")
		options.Progress = cmd.ErrOrStderr()
		options.Live = options.Progress == os.Stderr && term.IsTerminal(int(os.Stderr.Fd()))
		return runDemo(cmd, options, here, output.value)
	}
	return cmd
}

// demoReport is what --output json prints: the report, and what verify found.
type demoReport struct {
	*demo.Report
	Verify *verify.Report `json:"verify,omitempty"`
}

func runDemo(cmd *cobra.Command, options demo.Options, here bool, output string) error {
	report, err := demo.Run(cmd.Context(), options)
	if errors.As(err, &demo.UsageError{}) {
		return exit.Misuse(err)
	}
	if err != nil {
		return err
	}
	var verified *verify.Report
	switch {
	case report.Interrupted:
	case !here:
		report.Notes = append(report.Notes, "the books are not verified from here: run router verify where the databases are")
	default:
		if verified, err = verifyDemo(cmd.Context(), report.Accepted); err != nil {
			report.Problems = append(report.Problems, fmt.Sprintf("verify: %v", err))
		}
	}
	if output == "json" {
		err = printJSON(cmd.OutOrStdout(), demoReport{report, verified})
	} else {
		err = writeDemo(cmd.OutOrStdout(), report, verified)
	}
	switch {
	case err != nil:
		return fmt.Errorf("print the report: %w", err)
	case report.Interrupted:
		return fmt.Errorf("demo: %w", cmd.Context().Err())
	case len(report.Problems) > 0:
		return fmt.Errorf("demo: not everything is accounted for, see the %d problems above", len(report.Problems))
	case verified != nil && !verified.OK:
		return fmt.Errorf("demo: verify found %d violations", verified.Violations)
	}
	return nil
}

func writeDemo(w io.Writer, report *demo.Report, verified *verify.Report) error {
	if err := report.WriteText(w); err != nil || verified == nil {
		return err
	}
	if _, err := fmt.Fprint(w, "\nverify:\n"); err != nil {
		return err
	}
	return verified.WriteText(w)
}

// settlePatience is for what follows an order's end: the last notices, their events, their offsets.
const settlePatience = 30 * time.Second

// verifyDemo looks whether the books are right, and have the orders that were taken.
func verifyDemo(ctx context.Context, accepted []string) (*verify.Report, error) {
	return look(ctx, verifyFlags{
		settled: true, wait: settlePatience, options: verify.Options{Accepted: accepted, Examples: verify.DefaultExamples},
	})
}

// findRouter finds the router of this machine, where no other is named. here tells whether its databases and its log can
// be looked at as well: they are in its data directory, or are all configured.
func findRouter(url *string) (here bool, err error) {
	cfg, err := config.Load(config.Environ())
	if err != nil {
		return false, exit.Misuse(err)
	}
	if *url != "" {
		return hasOwnServers(cfg), nil
	}
	endpoints, err := embedded.ReadEndpoints(cfg.DataDir)
	if errors.Is(err, embedded.ErrNotRunning) || err == nil && endpoints.HTTP == "" {
		*url = defaultURL // with real servers there is no data directory
		return hasOwnServers(cfg), nil
	}
	if err != nil {
		return false, err
	}
	*url = endpoints.HTTP
	return true, nil
}

// hasOwnServers tells whether everything is at servers that are configured.
func hasOwnServers(cfg config.Config) bool {
	return (len(cfg.Kafka.Brokers) > 0 || cfg.Transport == "memory") &&
		!slices.ContainsFunc(cfg.Services, func(name string) bool { return !cfg.DatabaseURL(name).IsSet() })
}

func listScenarios() string {
	var b strings.Builder
	for _, s := range demo.Scenarios() {
		fmt.Fprintf(&b, "  %-17s %s\n", s.Name, s.About)
	}
	return b.String()
}
