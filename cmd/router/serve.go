package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/handlers/inventory/inventorypg"
	"millrace/logging"
	"millrace/outbox"
	"millrace/router"
	"millrace/transport"
)

// stopPatience is for what has to stop after requests and messages: stores, effects, relays.
const stopPatience = 10 * time.Second

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the system, or a part of it",
		Long: `Run the system, or a part of it. Everything is set by environment variables, listed below; without any,
an embedded broker and a private Postgres keep their state in .millrace. A second serve on the
same machine joins them. Ctrl-C stops it: what is under way is finished first.`,
		Example: `  router serve
  KAFKA_BROKERS=kafka:9092 DATABASE_URL=postgres://user:password@db:5432/shop router serve
  router serve --services order,payment`,
	}
	var services []string
	var acceptCluster bool
	cmd.Flags().StringSliceVar(&services, "services", nil, "the services to run here (SERVICES); default: all")
	cmd.Flags().BoolVar(&acceptCluster, "accept-new-cluster", false, "go on although the database's events went to another Kafka cluster")
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		printSettings(cmd)
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, log, err := loadConfig(services)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, log, acceptCluster)
	}
	return cmd
}

func printSettings(cmd *cobra.Command) {
	out := cmd.OutOrStdout()
	fmt.Fprintln(out, "\nEnvironment (docs/configuration.md has the same as a table; a secret can be read from the file NAME_FILE names):")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range config.Describe() {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.Name, s.Default, s.Help)
	}
	_ = t.Flush()
}

// loadConfig reads the environment; what flags say stands above it.
func loadConfig(services []string) (config.Config, *slog.Logger, error) {
	environ := config.Environ()
	if len(services) > 0 {
		environ["SERVICES"] = strings.Join(services, ",")
	}
	cfg, err := config.Load(environ)
	if err != nil {
		return cfg, nil, exit.Misuse(fmt.Errorf("the configuration is wrong:\n%w", err))
	}
	if len(cfg.Services) == 0 {
		cfg.Services = config.AllServices()
	}
	if err := checkDatabaseURLs(cfg); err != nil {
		return cfg, nil, exit.Misuse(fmt.Errorf("the configuration is wrong:\n%w", err))
	}
	log, err := logging.New(os.Stderr, cfg.Log.Format, cfg.Log.Level)
	if err != nil {
		return cfg, nil, exit.Misuse(err)
	}
	slog.SetDefault(log)
	return cfg, log, nil
}

// serve runs the services of cfg until ctx ends.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger, acceptCluster bool) (err error) {
	begin := time.Now()
	var c closers
	defer func() { err = errors.Join(err, c.close()) }()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	listeners, err := listen(ctx, cfg, log, &c) // first of all: a taken port should cost nobody a second
	if err != nil {
		return err
	}
	s, err := startServers(ctx, cfg, log, &c)
	if err != nil {
		return err
	}
	t, cluster, err := openTransport(ctx, cfg, s, metrics, log)
	if err != nil {
		return err
	}
	c.add(t.Close)
	flow := router.Flow(router.Services{})
	if err := flow.Validate(); err != nil {
		return err
	}
	if err := t.EnsureTopics(ctx, cfg.Kafka.Partitions, flow.Topics()...); err != nil {
		return err
	}
	// Requests and messages have the time-out each; the rest takes milliseconds, with servers that answer.
	parts := lineup{patience: 2*cfg.ShutdownTimeout + stopPatience}
	parts.add("servers", s.died)
	databases, err := openDatabases(ctx, cfg, s, t, &parts, cluster, acceptCluster, metrics, log, &c)
	if err != nil {
		return err
	}
	a := &assembly{cfg: cfg, flow: flow, log: log, metrics: metrics, lag: lagBehind(t, flow), lineup: &parts, routes: map[string]func(huma.API){}, marks: map[string]*outbox.Marks{}}
	letters, redrives := map[string]router.Letters{}, map[string]message.Subscriber{}
	for _, db := range databases {
		for _, name := range db.services {
			if name == "inventory" {
				if _, err := inventorypg.Seed(ctx, db.work); err != nil {
					return err
				}
			}
			if err := a.add(name, db); err != nil {
				return err
			}
			parking := deadletter.NewParking(db.work, name, a.marks[name], db.relay.Wake, deadletter.Options{FloodLimit: cfg.Handlers.FloodLetters, Logger: log})
			parts.add(name+" letters", parking.Run)
			if err := metrics.Register(parking); err != nil {
				return fmt.Errorf("register the metrics of %s letters: %w", name, err)
			}
			a.parkings = append(a.parkings, parking)
			letters[name], redrives[name] = parking, deadletter.NewRedriver(parking, log)
		}
	}
	handlers, err := router.Bind(router.Flow(a.services).Only(cfg.Services...), t, router.BindConfig{
		Letters: letters, Redrives: redrives, Metrics: router.NewMetrics(metrics), Version: build(), Timeout: cfg.Handlers.Timeout, CloseTimeout: cfg.ShutdownTimeout,
		Retry: router.RetryConfig{Tries: cfg.Handlers.Tries, First: cfg.Handlers.Backoff, Longest: cfg.Handlers.BackoffMax},
	})
	if err != nil {
		return err
	}
	parts.add("message handlers", func(ctx context.Context) error {
		go func() { <-ctx.Done(); _ = handlers.Close() }()
		return handlers.Run(context.WithoutCancel(ctx))
	})
	if err := a.addHTTP(listeners, handlers, databases, t, metrics); err != nil {
		return err
	}
	if err := s.publish(listeners.endpoints()); err != nil {
		return err
	}
	go func() {
		select {
		case <-handlers.Running():
			log.InfoContext(ctx, "ready", "services", cfg.Services, "http", listeners.shown(), "admin", listeners.adminURL(), "after", time.Since(begin).Round(time.Millisecond))
		case <-ctx.Done():
		}
	}()
	err = parts.run(ctx)
	if err == nil {
		log.InfoContext(context.WithoutCancel(ctx), "stopped")
	}
	return err
}

// openDatabases connects to each database, migrates it, and has its relay run.
func openDatabases(ctx context.Context, cfg config.Config, s *servers, t transport.Transport, parts *lineup, cluster string, acceptCluster bool, metrics prometheus.Registerer, log *slog.Logger, c *closers) ([]*database, error) {
	databases := groupByDatabase(cfg, s)
	for i, db := range databases {
		if err := db.open(ctx, cfg, log, c); err != nil {
			return nil, err
		}
		if cluster != "" {
			if err := outbox.RememberCluster(ctx, db.work, cluster, acceptCluster); err != nil {
				return nil, err
			}
		}
		publisher, err := t.Publisher()
		if err != nil {
			return nil, fmt.Errorf("the relay's publisher: %w", err)
		}
		c.add(publisher.Close)
		db.relay = outbox.NewRelay(db.work, publisher, outbox.RelayOptions{Cap: cfg.Outbox.Cap, Logger: log})
		named := prometheus.WrapRegistererWith(prometheus.Labels{"database": strings.Join(slices.Sorted(slices.Values(db.services)), ",")}, metrics)
		if err := named.Register(db.relay); err != nil {
			return nil, fmt.Errorf("register the relay's metrics: %w", err)
		}
		parts.add(fmt.Sprintf("relay %d", i+1), db.relay.Run)
	}
	return databases, nil
}
