package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/lib/pq" // the database driver

	"millrace/embedded"
)

const (
	// role is who the routers are in Postgres. It is no superuser, since to those no limit of connections applies.
	role = "shop"
	// startPatience is how long a server may take to come up; a crashed Postgres replays its log first.
	startPatience = 2 * time.Minute
	// adminConnections are for the looks and the locks of a few faults at a time.
	adminConnections = 16
)

// database is the run's Postgres. It can be killed, stopped and paused, and comes up again on the same data.
type database struct {
	dir    string
	server *embedded.Postgres
	// dsn is its address from the first start on; it stays the same.
	dsn string
	// admin is the run's own way in, as superuser, past all proxies.
	admin *sql.DB
}

func (d *database) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if d.server, err = embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: d.dir}); err != nil {
		return fmt.Errorf("start Postgres in %s: %w", d.dir, err)
	}
	if d.admin == nil {
		d.dsn = d.server.DSN()
		if d.admin, err = sql.Open("postgres", d.dsn); err != nil {
			return fmt.Errorf("connect to Postgres in %s: %w", d.dir, err)
		}
		d.admin.SetMaxOpenConns(adminConnections)
	}
	for _, statement := range []string{
		"DO $$ BEGIN CREATE ROLE " + role + " LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
		"ALTER DATABASE " + d.name() + " OWNER TO " + role,
		"ALTER ROLE " + role + " SET deadlock_timeout = '" + deadlockTimeout + "'",
	} {
		if _, err := d.admin.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make the role %s: %w", role, err)
		}
	}
	return nil
}

func (d *database) address() *url.URL {
	u, err := url.Parse(d.dsn)
	if err != nil { // it is embedded's own
		panic(err)
	}
	return u
}

func (d *database) name() string { return strings.TrimPrefix(d.address().Path, "/") }

// dial reaches the server without a proxy.
func (d *database) dial() (net.Conn, error) {
	q := d.address().Query()
	return net.Dial("unix", filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port")))
}

// through is the address for a router, by way of a proxy.
func (d *database) through(proxy net.Addr) string {
	return (&url.URL{Scheme: "postgres", User: url.User(role), Host: proxy.String(), Path: "/" + d.name(), RawQuery: "sslmode=disable"}).String()
}

// pid is the postmaster's.
func (d *database) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(d.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("find the process of Postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}

// signal reaches the postmaster first, so that it forks nobody who would be missed, then its children.
func (d *database) signal(s syscall.Signal) error {
	pid, err := d.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("send %s to Postgres: %w", s, err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return fmt.Errorf("find the children of Postgres: %w", err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return fmt.Errorf("find the children of Postgres: %w", err)
		}
		_ = syscall.Kill(child, s) // it may just have ended
	}
	return nil
}

// kill is kill -9 of the postmaster; its children notice, and end.
func (d *database) kill() error {
	pid, err := d.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill Postgres: %w", err)
	}
	<-d.server.Done()
	return nil
}

// ended tells whether the server is gone.
func (d *database) ended() bool {
	select {
	case <-d.server.Done():
		return true
	default:
		return false
	}
}

func (d *database) close() {
	if d.admin != nil {
		_ = d.admin.Close() // it was for looking
	}
	if d.server != nil {
		d.server.Close()
	}
}
