//go:build unix

package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"millrace/embedded/child"
)

const (
	// postgresDatabase is the database the services' schemas live in.
	postgresDatabase = "millrace"
	// postgresUser is the one role: whoever reaches the socket may do everything,
	// and the socket's directory lets nobody else reach it.
	postgresUser = "postgres"
	// postgresPort only names the socket file; there is no TCP port.
	postgresPort = "5432"
	// postgresReadyTimeout bounds the start. Replaying the log after a power cut
	// takes most of it: at most a gigabyte (max_wal_size), which a slow disk
	// reads in a minute.
	postgresReadyTimeout = 2 * time.Minute
	// orphansPatience is how long a killed server's children may take to notice that it
	// is gone; orphansPoll how often to try.
	orphansPatience = 10 * time.Second
	orphansPoll     = 200 * time.Millisecond
	// postgresStopPatience is for the checkpoint a fast stop writes: the dirty
	// part of 128 MB of buffers, on a slow disk.
	postgresStopPatience = 30 * time.Second
)

// PostgresConfig says where a private Postgres lives.
type PostgresConfig struct {
	// Dir is a directory of the server's own, created if it is missing. As root
	// it ends up belonging to another user, whose way to it must not be barred.
	Dir string
	// Throwaway gives up durability for speed: what a crash of the machine
	// leaves is unusable. For tests.
	Throwaway bool
}

// Postgres is a running private PostgreSQL server. It is reached through a unix
// socket in a directory closed to other users, and stops with this process.
type Postgres struct {
	process *child.Process
	socket  string
}

// StartPostgres starts the server in c.Dir, making its database first where
// there is none, and returns when it answers. It uses the machine's own
// binaries, or fetches them once where the machine has none; for that, main has
// to call RunFetchChildIfAsked.
//
// It refuses a data directory of another major version, and one that a server
// it cannot stop still uses.
func StartPostgres(ctx context.Context, c PostgresConfig) (*Postgres, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("make the Postgres directory %s absolute: %w", c.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the Postgres directory %s: %w", dir, err)
	}
	cluster := filepath.Join(dir, "data")
	major, err := clusterVersion(cluster)
	if err != nil {
		return nil, err
	}
	binaries, err := findOrFetchPostgres(ctx, major, cluster)
	if err != nil {
		return nil, err
	}
	run, err := chooseAccount(binaries, dir)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		if err := initCluster(ctx, binaries, run, dir, cluster, c.Throwaway); err != nil {
			return nil, err
		}
	}
	if err := clearPostmasterPID(ctx, cluster); err != nil {
		return nil, err
	}
	socket, err := socketDirectory(dir, run)
	if err != nil {
		return nil, err
	}

	for begin := time.Now(); ; {
		p, err := launch(ctx, run, binaries, dir, cluster, socket, c.Throwaway)
		// A killed postmaster's children live on for a moment, and hold its shared memory.
		if err == nil || !strings.Contains(err.Error(), "shared memory block") || time.Since(begin) > orphansPatience {
			return p, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(orphansPoll):
		}
	}
}

// launch starts the server once.
func launch(ctx context.Context, run account, b binaries, dir, cluster, socket string, throwaway bool) (*Postgres, error) {
	cmd := run.command(b.path("postgres"), serverArgs(cluster, socket, throwaway)...)
	cmd.Dir = dir
	process, err := child.Start(cmd, syscall.SIGINT, filepath.Join(dir, "server.log")) // SIGINT asks for a fast stop
	if err != nil {
		return nil, fmt.Errorf("start Postgres as %s: %w", run.name, err)
	}
	p := &Postgres{process: process, socket: socket}
	if err := p.awaitReady(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// DSN is the database's address for lib/pq and psql alike.
func (p *Postgres) DSN() string { return p.database(postgresDatabase) }

// Done is closed when the server has ended; without a Close before, that is a
// failure, and Err tells of it.
func (p *Postgres) Done() <-chan struct{} { return p.process.Done() }

// Err tells how the server ended and what it logged last; nil while it runs and
// after a clean stop.
func (p *Postgres) Err() error {
	if err := p.process.Err(); err != nil {
		return fmt.Errorf("the embedded Postgres ended (%w); %s", err, p.process.LogTail())
	}
	return nil
}

// Close stops the server: connections are cut, running transactions rolled
// back, everything committed is on disk. It returns when the server is gone, and
// may be called again.
func (p *Postgres) Close() {
	// SIGINT is a fast stop, SIGQUIT one without a checkpoint: the next start
	// replays the log.
	p.process.Stop(postgresStopPatience, syscall.SIGINT, syscall.SIGQUIT)
	// The directory is empty now and made again when needed; one that is not
	// empty, or gone already, does no harm.
	_ = os.Remove(p.socket)
}

// serverArgs are the settings of the server. They stand on the command line, so
// that no file edited in the data directory can make it less safe.
func serverArgs(cluster, socket string, throwaway bool) []string {
	settings := []string{
		"listen_addresses=",
		"port=" + postgresPort,
		`unix_socket_directories="` + strings.ReplaceAll(socket, `"`, `""`) + `"`,
		"unix_socket_permissions=0700",
		"max_connections=300",   // a router opens up to 34; several may share the server
		"shared_buffers=128MB",  // the whole of a demo's working set, on a small machine too
		"wal_compression=on",    // full pages after a checkpoint are most of the log
		"min_wal_size=256MB",    // keep log files to write over instead of making new ones
		"max_wal_size=1GB",      // bounds the replay after a crash
		"max_wal_senders=0",     // nobody replicates a private server
		"autovacuum=on",         // said again, since nothing here works for long without
		"autovacuum_naptime=5s", // outbox rows live for milliseconds: their corpses pile up fast
		// Rows turn over within seconds, so by the default threshold each table is analysed at every
		// nap, which costs more than vacuuming does. The statements here find rows by their keys,
		// whatever the statistics say.
		"autovacuum_analyze_threshold=50000",
		"jit=off", // statements are short, compiling them is not
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"log_destination=stderr",
		"log_min_error_statement=panic", // statements carry customers' data: keep them out of the log
		"log_checkpoints=off",
	}
	durability := "on"
	if throwaway {
		durability = "off"
	}
	for _, s := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		settings = append(settings, s+"="+durability)
	}
	args := []string{"-D", cluster}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// command is exec.Command for this account. What it prints is quoted in errors,
// so it speaks their language, not the user's.
func (a account) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = a.attributes()
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}
