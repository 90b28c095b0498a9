package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"millrace/deadletter"
	"millrace/deadletter/filter"
	"millrace/outbox"
	"millrace/router"
	"millrace/transport"
)

func dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, and decide what becomes of them",
		Long: `Look at dead letters, and decide what becomes of them. It works on the databases (the same settings as
serve's, or those of the router that runs on this machine) and needs no router that runs.

A filter is a list of conditions, which must all hold; "or", "not" and parentheses are as usual:

  service:payment since:2h               of one service, of the last two hours
  error~"no such account"                text in the error, whatever the case
  status:new not topic:*.cancelled       * stands for anything
  body.total.amount>=10000               a place in the event's body
  c-4711                                 text anywhere: error, ids, body

Fields: ` + strings.Join(filter.Fields(), ", ") + `.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dlqGroupsCommand(), dlqListCommand(), dlqShowCommand(), dlqRedriveCommand(), dlqDropCommand(), dlqRestoreCommand(), dlqResumeCommand(), dlqEditCommand())
	return cmd
}

// desks are the databases' letters, and the flow whose reactions tell what a redrive would do.
type desks struct {
	all  []*deadletter.Desk
	flow router.Graph
}

// withDesks connects to every configured database, or to the private one, which it starts or joins.
func withDesks(ctx context.Context, do func(ctx context.Context, d *desks) error) (err error) {
	cfg, _, err := loadConfig(nil)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log)
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
	a := &assembly{
		cfg: cfg, flow: router.Flow(router.Services{}), log: log, metrics: prometheus.NewRegistry(), lineup: &lineup{},
		lag: lagBehind(noTransport{}, nil), routes: map[string]func(huma.API){}, marks: map[string]*outbox.Marks{},
	}
	who := whoAmI()
	found := &desks{}
	for _, db := range groupByDatabase(cfg, s) {
		if db.work, err = openPool(ctx, db.dsn, connectionsShared, silence); err != nil {
			return fmt.Errorf("the database of %v (DATABASE_URL): %w", db.services, err)
		}
		c.add(db.work.Close)
		db.reads = db.work
		marks := map[string]*outbox.Marks{}
		for _, name := range db.services {
			if err := a.add(name, db); err != nil {
				return err
			}
			marks[name] = a.marks[name]
		}
		found.all = append(found.all, deadletter.NewDesk(db.work, marks, who))
	}
	found.flow = router.Flow(a.services)
	return do(ctx, found)
}

// noTransport is for services that are put together and not run.
type noTransport struct{ transport.Transport }

// whoAmI is who decides, as an audit should name them.
func whoAmI() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// parseFilter reads a filter from the arguments.
func parseFilter(args []string) (filter.Condition, error) {
	c, err := filter.Parse(strings.Join(args, " "), time.Now())
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// find returns the letter with that id, or the only one whose id begins so.
func (d *desks) find(ctx context.Context, id string) (*deadletter.Desk, *deadletter.Letter, error) {
	for _, desk := range d.all {
		l, err := desk.Find(ctx, id)
		if err == nil || !errors.Is(err, deadletter.ErrNoLetter) {
			return desk, l, err
		}
	}
	return nil, nil, fmt.Errorf("letter %s: %w; router dlq list shows them", id, deadletter.ErrNoLetter)
}
