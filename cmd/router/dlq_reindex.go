package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/deadletter"
	"millrace/deadletter/plural"
	"millrace/deadletter/reindex"
	"millrace/router"
	"millrace/transport"
	"millrace/transport/kafka"
)

// withLog is withDesks with an admin of the broker besides, and the configuration for what else speaks to it.
func withLog(ctx context.Context, do func(ctx context.Context, d *desks, log *kafka.Admin, config kafka.Config) error) error {
	return openDesks(ctx, true, func(ctx context.Context, d *desks) error {
		if len(d.servers.brokers) == 0 {
			return exit.Misuse(fmt.Errorf("TRANSPORT=%s has no log that could be read: set KAFKA_BROKERS, and leave TRANSPORT out", d.cfg.Transport))
		}
		config, err := kafkaConfig(d.cfg, d.servers, nil, slog.Default())
		if err != nil {
			return err
		}
		log, err := kafka.NewAdmin(config)
		if err != nil {
			return err
		}
		defer log.Close()
		return do(ctx, d, log, config)
	})
}

func dlqReindexCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Put back from Kafka what Postgres has lost of the letters",
		Long: `Puts back what Postgres has lost of the letters, after its tables were emptied or restored: the letters from their
topics (dlq.<group>), and what waits behind them from the topics their services hear, in order. What is there already
stays as it is, so the same again changes nothing. Routers may run meanwhile; no offset is moved.

A letter whose message has been processed since comes back as resolved, and so does a dropped one. Who decided what and
why, redrives and pauses are in Postgres alone and do not come back. A letter without an order comes back as new, whatever
had become of it. What Kafka no longer keeps cannot come back.`,
		Args: cobra.NoArgs,
		Example: `  router dlq reindex --dry-run
  router dlq reindex --service payment
  router dlq reindex --output json | jq '.services[] | {service, new, parked}'`,
	}
	service := cmd.Flags().String("service", "", "only this service's letters (default: all)")
	completeFlag(cmd, "service", completeServices)
	dryRun := cmd.Flags().Bool("dry-run", false, "only count what would be put back")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *service != "" && len(router.Flow(router.Services{}).Only(*service)) == 0 {
			return exit.Misuse(fmt.Errorf("--service: %w", noService(*service)))
		}
		return withLog(cmd.Context(), func(ctx context.Context, d *desks, log *kafka.Admin, _ kafka.Config) error {
			reports, err := d.reindex(ctx, log, *service, *dryRun)
			if len(reports) > 0 || err == nil {
				var printed error
				if output.value == "json" {
					printed = printJSON(cmd.OutOrStdout(), map[string]any{"services": reports})
				} else {
					printed = printReindex(cmd.OutOrStdout(), reports, *dryRun)
				}
				if err == nil {
					err = printed
				}
			}
			return err
		})
	}
	return cmd
}

// reindex goes through the services one after the other, up to the first that fails.
func (d *desks) reindex(ctx context.Context, log *kafka.Admin, only string, dryRun bool) ([]reindex.Report, error) {
	reports := []reindex.Report{}
	for _, s := range d.flow {
		desk := slices.IndexFunc(d.all, func(desk *deadletter.Desk) bool { return slices.Contains(desk.Services(), s.Name) })
		if only != "" && s.Name != only || desk < 0 && only == "" {
			continue
		}
		if desk < 0 {
			return reports, fmt.Errorf("the database of %s is not among those configured (SERVICES)", s.Name)
		}
		report, err := reindex.Run(ctx, log, reindex.Service{
			Name: s.Name, Group: s.Group(), Topics: s.Topics(), Desk: d.all[desk],
			Parkable: func(r transport.LogRecord) (deadletter.Letter, bool) { return d.flow.Parkable(s.Name, build(), r) },
		}, dryRun)
		reports = append(reports, report)
		if err != nil {
			return reports, err
		}
	}
	return reports, nil
}

func printReindex(w io.Writer, reports []reindex.Report, dryRun bool) error {
	t := table{columns: []column{{name: "SERVICE"}, {name: "RECORDS", right: true}, {name: "KNOWN", right: true}, {name: "RESOLVED", right: true},
		{name: "NEW", right: true}, {name: "PARKED", right: true}, {name: "HELD UP", right: true}, {name: "FREED", right: true}, {name: ""}}}
	var total deadletter.Rebuilt
	var foreign int64
	for _, r := range reports {
		t.add(r.Service, fmt.Sprint(r.Copies), fmt.Sprint(r.Known), fmt.Sprint(r.Resolved), fmt.Sprint(r.New), fmt.Sprint(r.Parked), fmt.Sprint(r.Lanes), fmt.Sprint(r.Freed), "")
		total.Add(r.Rebuilt)
		foreign += r.Foreign
	}
	if err := t.print(w, terminalWidth(w)); err != nil {
		return err
	}
	verb := "were put back"
	if dryRun {
		verb = "would be put back; nothing was written"
	}
	fmt.Fprintf(w, "\n%s and %s behind them %s.\n", plural.Of(total.Resolved+total.New, "letter", "letters"), plural.Of(total.Parked, "message", "messages"), verb)
	if foreign > 0 {
		fmt.Fprintf(w, "%s in the topics of the letters, none of ours, %s left alone (router dlq foreign --help).\n", plural.Of(foreign, "record", "records"), plural.Word(foreign, "was", "were"))
	}
	return nil
}
