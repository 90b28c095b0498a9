package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/term"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/verify"
	"millrace/verify/spill"
)

// verifyFlags are what verify is asked for.
type verifyFlags struct {
	databases []string
	accepted  string
	patience  time.Duration
	wait      time.Duration
	settled   bool // at rest if it comes to rest, else as it goes on
	options   verify.Options
}

func verifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove what can be proved from the databases and the log",
		Long: `Reads every row and every event, and checks what docs/guarantees.md promises: that no order is lost, that
money and stock add up, that nothing was done twice, that events are complete and in order. It knows
tables and records by itself, and shares no code with what it checks.

It may look at a system that goes on: nothing is stopped or locked, and what is on its way is counted
apart. --at-rest says that nothing is going on any more; then what is on its way is a violation.

Where to look: the settings of serve, or the router that runs on this machine. With --database, these
databases instead; a system that is split has several, and all of them are needed.

Exit code 1 if there is a violation, or if it could not look. It takes some 6 KB of temporary disk space for
each order, and little memory, but for the ids of --accepted, which it keeps. While it reads them, the databases
keep old versions of rows.`,
		Example: `  router verify
  router demo && router verify --at-rest --wait 30s
  router verify --output json | jq '.invariants[] | select(.violations > 0)'
  router verify --database postgres://checker@orders/shop --database postgres://checker@stock/shop`,
	}
	cmd.Flags().StringArrayVar(&flags.databases, "database", nil, "a database to look at, instead of the configured ones; may be repeated")
	cmd.Flags().BoolVar(&flags.options.AtRest, "at-rest", false, "nothing is going on any more: what is on its way is a violation")
	cmd.Flags().DurationVar(&flags.wait, "wait", 0, "with --at-rest: how long to wait until nothing is going on")
	cmd.Flags().StringVar(&flags.accepted, "accepted", "", "a file with the ids of orders that clients were told are accepted, one a line; - is standard input")
	cmd.Flags().DurationVar(&flags.patience, "patience", 0, "how long an order may go on without a reason, and what is on its way may take (default: ORDER_DEADLINE, PAYMENT_DEADLINE and a minute)")
	cmd.Flags().IntVar(&flags.options.Examples, "examples", verify.DefaultExamples, "how many violations of each kind to describe; all are counted")
	cmd.Flags().StringVar(&flags.options.Dir, "temp-dir", "", "where to keep temporary files (default: TMPDIR)")
	output := addOutput(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if flags.options.Examples < 1 {
			return exit.Misuse(fmt.Errorf("--examples: at least 1 is needed, not %d", flags.options.Examples))
		}
		if flags.patience < 0 {
			return exit.Misuse(fmt.Errorf("--patience: %s is less than nothing", flags.patience))
		}
		if flags.wait < 0 || flags.wait > 0 && !flags.options.AtRest {
			return exit.Misuse(errors.New("--wait: it goes with --at-rest, and is not negative"))
		}
		if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			var clear func()
			flags.options.Progress, clear = showProgress(f)
			defer clear()
		}
		return runVerify(cmd, flags, output.value)
	}
	return cmd
}

func runVerify(cmd *cobra.Command, flags verifyFlags, output string) error {
	if flags.accepted != "" {
		ids, err := readIDs(cmd.InOrStdin(), flags.accepted)
		if err != nil {
			return exit.Misuse(fmt.Errorf("--accepted: %w", err))
		}
		flags.options.Accepted = ids
	}
	report, err := look(cmd.Context(), flags)
	if errors.As(err, &verify.UsageError{}) {
		return exit.Misuse(err)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if output == "json" {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		err = report.WriteText(cmd.OutOrStdout())
	}
	if err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	if !report.OK {
		return fmt.Errorf("verify: %d violations", report.Violations)
	}
	return nil
}

// look connects to what is configured, or to what runs here, and looks.
func look(ctx context.Context, flags verifyFlags) (report *verify.Report, err error) {
	cfg, _, err := loadConfig(nil)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log)
	if len(flags.databases) > 0 { // so that no private one is started
		cfg.Services, cfg.Database = []string{"order"}, config.Database{URL: config.NewSecret(flags.databases[0])}
	}
	var c closers
	defer func() { err = errors.Join(err, c.close()) }()
	s, err := startServers(ctx, cfg, log, &c)
	if err != nil {
		return nil, err
	}
	addresses := flags.databases
	if len(addresses) == 0 {
		for _, db := range groupByDatabase(cfg, s) {
			addresses = append(addresses, db.dsn)
		}
	}
	options := flags.options
	for _, address := range addresses {
		if _, err := addressOf(address); err != nil {
			return nil, exit.Misuse(fmt.Errorf("--database: %w", err))
		}
		db, err := openPool(ctx, address, 1, silence)
		if err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
		c.add(db.Close)
		options.Databases = append(options.Databases, verify.Database{DB: db})
	}
	if cfg.Transport != "memory" {
		if options.Kafka, err = kafkaOptions(cfg, s); err != nil {
			return nil, err
		}
	}
	options.OutboxCap = cfg.Outbox.Cap
	if options.Patience = flags.patience; options.Patience == 0 {
		options.Patience = cfg.Order.Deadline + cfg.Payment.Deadline + time.Minute
	}
	switch {
	case flags.settled:
		return verify.RunSettled(ctx, options, flags.wait)
	case options.AtRest:
		return verify.RunAtRest(ctx, options, flags.wait)
	}
	return verify.Run(ctx, options)
}

// kafkaOptions are a client's of its own, with the addresses and the login that are configured.
func kafkaOptions(cfg config.Config, s *servers) ([]kgo.Opt, error) {
	options := []kgo.Opt{kgo.SeedBrokers(s.brokers...), kgo.ClientID("millrace-verify"), kgo.DisableClientMetrics()}
	encrypted, err := cfg.Kafka.TLSConfig()
	if err != nil {
		return nil, exit.Misuse(err)
	}
	if encrypted != nil {
		options = append(options, kgo.DialTLSConfig(encrypted))
	}
	if cfg.Kafka.SASLMechanism == "" {
		return options, nil
	}
	user, password := cfg.Kafka.SASLUser, cfg.Kafka.SASLPassword.Reveal()
	login, ok := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}[cfg.Kafka.SASLMechanism]
	if !ok {
		return nil, exit.Misuse(fmt.Errorf("KAFKA_SASL_MECHANISM=%q is not known", cfg.Kafka.SASLMechanism))
	}
	return append(options, kgo.SASL(login)), nil
}

// readIDs reads one id a line.
func readIDs(in io.Reader, name string) (ids []string, err error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			ids = append(ids, line)
		}
	}
	return ids, lines.Err()
}

// progressPause is the time between two looks at the progress.
const progressPause = 200 * time.Millisecond

// showProgress keeps one line on a terminal up to date.
func showProgress(to io.Writer) (show func(verify.Progress), clear func()) {
	var mu sync.Mutex
	var last time.Time
	const erase = "\r\x1b[K"
	show = func(p verify.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < progressPause {
			return
		}
		last = time.Now()
		if p.Buckets == 0 {
			fmt.Fprintf(to, erase+"read %d rows and %d records", p.Rows, p.Records)
		} else {
			fmt.Fprintf(to, erase+"checked %d %%", 100*p.Buckets/spill.Count)
		}
	}
	return show, func() { fmt.Fprint(to, erase) }
}
