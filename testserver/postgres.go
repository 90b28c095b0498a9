//go:build unix

package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/lib/pq"

	"millrace/embedded"
)

// The two servers a test process may have.
var (
	fastPostgres    shared[*embedded.Postgres]
	durablePostgres shared[*embedded.Postgres]
)

// databases numbers the databases of this process.
var databases atomic.Int64

// Postgres opens a database of the test's own, empty, on a real server that
// does not wait for the disk. It is dropped when the test is over.
func Postgres(tb testing.TB) *sql.DB {
	tb.Helper()
	return open(tb, PostgresDSN(tb))
}

// PostgresDSN is the address of such a database, for lib/pq.
func PostgresDSN(tb testing.TB) string {
	tb.Helper()
	return newDatabase(tb, &fastPostgres, true)
}

// DurablePostgresDSN is the address of a new database on a server that waits for the disk at each
// commit (fsync on), for tests that crash it and for measurements.
func DurablePostgresDSN(tb testing.TB) string {
	tb.Helper()
	return newDatabase(tb, &durablePostgres, false)
}

func startPostgres(ctx context.Context, throwaway bool) (*embedded.Postgres, error) {
	dir, err := newDirectory()
	if err != nil {
		return nil, err
	}
	server, err := embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: filepath.Join(dir, "postgres"), Throwaway: throwaway})
	if err != nil {
		return nil, err
	}
	atEnd(server.Close)
	return server, nil
}

func open(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	address, err := pq.NewConfig(dsn)
	if err != nil {
		tb.Fatalf("read the test database's address: %v", err)
	}
	address.BinaryParameters = true // as the router's own pools have it
	connector, err := pq.NewConnectorConfig(address)
	if err != nil {
		tb.Fatalf("read the test database's address: %v", err)
	}
	db := sql.OpenDB(connector)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// newDatabase makes an empty database and drops it after the test, with
// whatever connections the test left open.
func newDatabase(tb testing.TB, s *shared[*embedded.Postgres], throwaway bool) string {
	tb.Helper()
	server, err := s.get(func(ctx context.Context) (*embedded.Postgres, error) { return startPostgres(ctx, throwaway) })
	if err != nil {
		tb.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	// template0 instead of template1: nothing ever connects to it, not even
	// autovacuum, and a template in use cannot be copied.
	if err := administer(server, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0"); err != nil {
		tb.Fatalf("create a test database: %v", err)
	}
	tb.Cleanup(func() {
		if err := administer(server, "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop the test database: %v", err)
		}
	})
	address, err := url.Parse(server.DSN())
	if err != nil {
		tb.Fatalf("read the test server's address: %v", err)
	}
	address.Path = "/" + name
	return address.String()
}

// administer runs one statement on a connection of its own.
func administer(server *embedded.Postgres, statement string) error {
	db, err := sql.Open("postgres", server.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}
