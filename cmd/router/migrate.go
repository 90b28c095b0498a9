package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"millrace/outbox"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the databases up to date, or show where they stand",
		Long: `Bring the databases up to date, or show where they stand. serve does it too; this is for those who
give the running service fewer rights than its tables' owner has. It needs a direct connection, not a pooler's.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	up := &cobra.Command{Use: "up", Short: "Apply every step that is missing"}
	up.RunE = func(cmd *cobra.Command, _ []string) error {
		return eachDatabase(cmd.Context(), func(ctx context.Context, db *database) error { return db.migrate(ctx) })
	}
	status := &cobra.Command{Use: "status", Short: "List the steps and whether they were applied"}
	output := addOutput(status, "table", "json")
	status.RunE = func(cmd *cobra.Command, _ []string) error {
		var all []outbox.MigrationStatus
		err := eachDatabase(cmd.Context(), func(ctx context.Context, db *database) error {
			for _, s := range schemasOf(db.services) {
				steps, err := outbox.Status(ctx, db.work, s.schema, s.steps)
				if err != nil {
					return err
				}
				all = append(all, steps...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "SCHEMA\tSTEP\tAPPLIED")
		for _, m := range all {
			fmt.Fprintf(t, "%s\t%s\t%t\n", m.Schema, m.Name, m.Applied)
		}
		return t.Flush()
	}
	cmd.AddCommand(up, status)
	return cmd
}

// eachDatabase connects to every configured database, or to the private one, which it starts
// or joins.
func eachDatabase(ctx context.Context, do func(context.Context, *database) error) (err error) {
	cfg, log, err := loadConfig(nil)
	if err != nil {
		return err
	}
	cfg.Transport = "memory" // no broker is needed
	var c closers
	defer func() {
		if closeErr := c.close(); err == nil {
			err = closeErr
		}
	}()
	s, err := startServers(ctx, cfg, log, &c)
	if err != nil {
		return err
	}
	for _, db := range groupByDatabase(cfg, s) {
		if db.work, err = openPool(ctx, db.dsn, connectionsShared, silence); err != nil {
			return fmt.Errorf("the database of %v (DATABASE_URL): %w", db.services, err)
		}
		c.add(db.work.Close)
		if err := do(ctx, db); err != nil {
			return err
		}
	}
	return nil
}
