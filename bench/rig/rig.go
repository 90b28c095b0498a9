// Package rig is what a run of the bench stands on: one Postgres with fsync on, a broker in a process
// of its own, the processes that are measured, and what all of them cost.
//
// Both sides of a comparison get the same servers with the same settings. Each side gets, in each
// round, an empty database and a broker without topics, so that nothing one side leaves behind (dead
// rows, open files, autovacuum) slows the next.
package rig

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	_ "github.com/lib/pq" // the database driver

	"millrace/embedded"
	"millrace/testserver/realkafka"
)

// Partitions is how many partitions every topic of a run has: what a router makes by default.
const Partitions = 3

// Kafka is which broker a run uses.
type Kafka string

const (
	// EmbeddedKafka is the broker that a router brings along, in a process of its own.
	EmbeddedKafka Kafka = "embedded"
	// RealKafka is Apache Kafka, as realkafka starts it.
	RealKafka Kafka = "real"
)

// Config says what to stand on.
type Config struct {
	// Dir is for data and logs; the logs stay. Its file system is the one that is measured.
	// Empty: a directory for temporary files, which Close removes.
	Dir   string
	Kafka Kafka
	// Bench is this program, if it is cmd/bench: some of its commands are processes of a round.
	// Empty, as in tests: it is built.
	Bench string
	Log   *slog.Logger
}

// Rig is the servers of one run. Its rounds are used one at a time.
type Rig struct {
	log       *slog.Logger
	dir       string
	temporary bool
	bench     string // the program
	postgres  *embedded.Postgres
	admin     *sql.DB
	kafka     Kafka
	real      *realkafka.Broker // nil unless kafka is RealKafka
	rounds    atomic.Int64
}

// Start builds the programs that are measured, and starts the servers that all rounds share.
func Start(ctx context.Context, c Config) (*Rig, error) {
	r := &Rig{log: c.Log, kafka: c.Kafka, bench: c.Bench}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if err := r.makeDir(c.Dir); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) (err error) {
	if err := r.build(ctx); err != nil {
		return err
	}
	if r.postgres, err = embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: filepath.Join(r.dir, "postgres")}); err != nil {
		return fmt.Errorf("start the bench's Postgres: %w", err)
	}
	if r.admin, err = sql.Open("postgres", r.postgres.DSN()); err != nil {
		return fmt.Errorf("connect to the bench's Postgres: %w", err)
	}
	if r.kafka == RealKafka {
		jars, err := realkafka.FindJars()
		if err != nil {
			return fmt.Errorf("--kafka real: %w", err)
		}
		if r.real, err = realkafka.Start(ctx, realkafka.Config{Dir: filepath.Join(r.dir, "kafka"), Jars: jars}); err != nil {
			return fmt.Errorf("start the bench's Apache Kafka: %w", err)
		}
	}
	return nil
}

func (r *Rig) makeDir(dir string) (err error) {
	if r.temporary = dir == ""; r.temporary {
		dir, err = os.MkdirTemp("", "millrace-bench-")
	} else {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "logs"), 0o711)
	}
	if err == nil {
		err = os.Chmod(dir, 0o711) // as root, Postgres runs as another user, who has to get in
	}
	if err != nil {
		return fmt.Errorf("make a directory for the bench: %w", err)
	}
	r.dir = dir
	return nil
}

// build makes the programs from the source around the working directory.
func (r *Rig) build(ctx context.Context) error {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	if err != nil || root == "." || root == filepath.Dir(os.DevNull) {
		return fmt.Errorf("build what is measured: the bench runs in a checkout of the repository, with Go on PATH (go env GOMOD: %q, %w)", gomod, err)
	}
	args := []string{"build", "-trimpath", "-o", filepath.Join(r.dir, "bin") + string(filepath.Separator), "./cmd/router"}
	if r.bench == "" {
		args = append(args, "./cmd/bench")
		r.bench = filepath.Join(r.dir, "bin", "bench")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build what is measured: %w\n%s", err, out)
	}
	return nil
}

// Router is the path of the router's program.
func (r *Rig) Router() string { return filepath.Join(r.dir, "bin", "router") }

// Bench is the path of the bench's program.
func (r *Rig) Bench() string { return r.bench }

// Kafka tells which broker the run uses.
func (r *Rig) Kafka() Kafka { return r.kafka }

// PostgresVersion is the server's own word for its version.
func (r *Rig) PostgresVersion(ctx context.Context) (version string, err error) {
	if err := r.admin.QueryRowContext(ctx, "SHOW server_version").Scan(&version); err != nil {
		return "", fmt.Errorf("ask Postgres for its version: %w", err)
	}
	return version, nil
}

// postmaster is the process id of the Postgres server.
func (r *Rig) postmaster() (int, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("find the process of Postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0, fmt.Errorf("find the process of Postgres: %w", err)
	}
	return pid, nil
}

// Close stops the servers and removes their data. The logs stay where Config.Dir was given.
func (r *Rig) Close() error {
	var errs []error
	if r.admin != nil {
		errs = append(errs, r.admin.Close())
	}
	if r.postgres != nil {
		r.postgres.Close()
	}
	if r.real != nil {
		r.real.Kill() // nobody reads its data again
	}
	gone := []string{filepath.Join(r.dir, "postgres"), filepath.Join(r.dir, "kafka"), filepath.Join(r.dir, "bin")}
	if r.temporary {
		gone = []string{r.dir}
	}
	for _, path := range gone {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear away the bench's servers: %w", err)
	}
	return nil
}
