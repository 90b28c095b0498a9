//go:build unix

// Package pgbench measures how many transactions of one event each a Postgres commits: insert a row,
// update a row, insert into an outbox. It is the pace of a service that does by hand, and one by
// one, what the store does for many orders at once. No broker and no Go code takes part.
package pgbench

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/embedded"
)

// Config is what is measured.
type Config struct {
	// DSN is an empty database. The tables are made there and stay.
	DSN string
	// Clients are the numbers of connections to try.
	Clients []int
	// Duration is for one try; at least a second, in whole seconds.
	Duration time.Duration
	// Payload and Headers are what each outbox row carries.
	Payload, Headers string
}

// Result is one try.
type Result struct {
	Clients               int
	TransactionsPerSecond float64
	Transactions          int64 // how many were committed
}

var (
	//go:embed schema.sql
	schema string
	// transaction is one event, as pgbench runs it.
	//
	//go:embed transaction.sql
	transaction string
)

// states is how many rows the update chooses from, one for each order that is under way in a busy
// shop. They fit into memory and seldom meet.
const states = 10_000

// Run makes the tables, tries each number of clients and returns the best try. It fails if pgbench is
// missing, if a transaction failed, or if one that pgbench counted is not in the outbox.
func Run(ctx context.Context, c Config) (best Result, err error) {
	program, err := embedded.FindPostgresProgram("pgbench")
	if err != nil {
		return Result{}, err
	}
	db, err := sql.Open("postgres", c.DSN)
	if err != nil {
		return Result{}, fmt.Errorf("open the database for pgbench: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return Result{}, fmt.Errorf("make the tables for pgbench: %w", err)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO states SELECT n FROM generate_series(1, $1) AS n", states); err != nil {
		return Result{}, fmt.Errorf("fill the table that pgbench updates: %w", err)
	}
	dir, err := os.MkdirTemp("", "millrace-pgbench-")
	if err != nil {
		return Result{}, fmt.Errorf("make a directory for pgbench's script: %w", err)
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "transaction.sql")
	if err := os.WriteFile(script, []byte(transaction), 0o600); err != nil {
		return Result{}, fmt.Errorf("write pgbench's script: %w", err)
	}
	var total int64
	for _, clients := range c.Clients {
		// Each try begins like the others: nothing to vacuum, nothing for a checkpoint to write.
		if _, err := db.ExecContext(ctx, "TRUNCATE outbox, processed"); err != nil {
			return best, fmt.Errorf("empty the tables between pgbench's tries: %w", err)
		}
		for _, statement := range []string{"VACUUM ANALYZE states", "CHECKPOINT"} {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return best, fmt.Errorf("%s before a try of pgbench: %w", statement, err)
			}
		}
		result, err := try(ctx, program, script, c, clients)
		if err != nil {
			return best, err
		}
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&total); err != nil {
			return best, fmt.Errorf("count what pgbench wrote: %w", err)
		}
		if total != result.Transactions {
			return best, fmt.Errorf("pgbench with %d clients counted %d transactions, but the outbox has %d rows", clients, result.Transactions, total)
		}
		if result.TransactionsPerSecond > best.TransactionsPerSecond {
			best = result
		}
	}
	if best.Clients == 0 {
		return best, errors.New("pgbench measured nothing: name at least one number of clients")
	}
	return best, nil
}

// threads is how many pgbench itself uses: one for each core of the two that the goals are set for.
const threads = 2

func try(ctx context.Context, program, script string, c Config, clients int) (Result, error) {
	seconds := max(1, int(c.Duration.Seconds()))
	cmd := exec.CommandContext(ctx, program,
		"--no-vacuum", "--protocol=prepared", "--file="+script,
		"--client="+strconv.Itoa(clients), "--jobs="+strconv.Itoa(min(threads, clients)), "--time="+strconv.Itoa(seconds),
		"--define=states="+strconv.Itoa(states), "--define=payload="+c.Payload, "--define=headers="+c.Headers,
		c.DSN)
	// Interrupted, pgbench ends its connections; killed, its transactions go on for a moment.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second // for a transaction at hand; then it is killed
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return Result{}, fmt.Errorf("run %s with %d clients: %w: %s", program, clients, errors.Join(ctx.Err(), err), strings.TrimSpace(problems.String()))
	}
	result, err := parse(out.String())
	result.Clients = clients
	return result, err
}

var (
	rateLine   = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	countLine  = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
	failedLine = regexp.MustCompile(`(?m)^number of failed transactions: ([0-9]+)`)
)

// parse reads pgbench's summary.
func parse(summary string) (r Result, err error) {
	rate, count := rateLine.FindStringSubmatch(summary), countLine.FindStringSubmatch(summary)
	if rate == nil || count == nil {
		return r, fmt.Errorf("pgbench's summary tells no rate: %q", summary)
	}
	if r.TransactionsPerSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return r, fmt.Errorf("read pgbench's rate: %w", err)
	}
	if r.Transactions, err = strconv.ParseInt(count[1], 10, 64); err != nil {
		return r, fmt.Errorf("read pgbench's count: %w", err)
	}
	if failed := failedLine.FindStringSubmatch(summary); failed != nil && failed[1] != "0" { // since version 15
		return r, fmt.Errorf("%s transactions of pgbench failed", failed[1])
	}
	return r, nil
}
