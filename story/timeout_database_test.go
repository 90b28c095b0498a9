package story_test

import (
	"context"
	"database/sql/driver"
	"io"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/lib/pq"
)

// callsToDatabase makes connections whose every round trip is an outside call: BEGIN, each statement, COMMIT. One that has
// a mishap breaks its connection, as a network does: after the server has done what it was asked to, or before.
type callsToDatabase struct {
	driver.Connector
	*outsideCalls
	who string
}

func newCallsToDatabase(dsn, who string, calls *outsideCalls) (*callsToDatabase, error) {
	address, err := pq.NewConfig(dsn)
	if err != nil {
		return nil, err
	}
	address.BinaryParameters = true // as the router's own pools have it
	connector, err := pq.NewConnectorConfig(address)
	return &callsToDatabase{connector, calls, who}, err
}

// pqConn is what a connection of pq can do that database/sql asks for.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

func (d *callsToDatabase) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &spoiltConn{pqConn: c.(pqConn), calls: d}, nil
}

type spoiltConn struct {
	pqConn
	calls  *callsToDatabase
	broken atomic.Bool
}

// IsValid keeps a broken connection out of the pool.
func (c *spoiltConn) IsValid() bool { return !c.broken.Load() && c.pqConn.IsValid() }

// run makes a round trip, or what happens instead.
func (c *spoiltConn) run(name string, trip func() error) error {
	if c.broken.Load() {
		return io.ErrUnexpectedEOF
	}
	failed := false
	err := c.calls.do(context.Background(), c.calls.who+": "+name, ownPatience, func() error {
		err := trip()
		failed = err != nil
		return err
	})
	if err == nil || failed {
		return err
	}
	c.broken.Store(true)
	_ = c.Close() // it is lost anyway
	return io.ErrUnexpectedEOF
}

func (c *spoiltConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.run(statementName(query), func() error { r, err = c.pqConn.ExecContext(ctx, query, args); return err })
	return r, err
}

func (c *spoiltConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.run(statementName(query), func() error { r, err = c.pqConn.QueryContext(ctx, query, args); return err })
	return r, err
}

func (c *spoiltConn) PrepareContext(ctx context.Context, query string) (s driver.Stmt, err error) {
	err = c.run("PREPARE", func() error { s, err = c.pqConn.PrepareContext(ctx, query); return err })
	if err != nil {
		return nil, err
	}
	return &spoiltStmt{s, c, statementName(query)}, nil
}

func (c *spoiltConn) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	err = c.run("BEGIN", func() error { tx, err = c.pqConn.BeginTx(ctx, opts); return err })
	if err != nil {
		return nil, err
	}
	return &spoiltTx{tx, c}, nil
}

type spoiltTx struct {
	driver.Tx
	conn *spoiltConn
}

func (t *spoiltTx) Commit() error { return t.conn.run("COMMIT", t.Tx.Commit) }

type spoiltStmt struct {
	driver.Stmt
	conn *spoiltConn
	name string
}

func (s *spoiltStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.conn.run(s.name, func() error { r, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args); return err })
	return r, err
}

func (s *spoiltStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.conn.run(s.name, func() error { r, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args); return err })
	return r, err
}

var tableName = regexp.MustCompile(`\b(?:millrace|deadletter|orders|payments|inventory|shipping|notification|analytics)\.[a-z_]+`)

// statementName is short for a statement: what it does first, and to which table.
func statementName(query string) string {
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	return strings.TrimSpace(strings.TrimSuffix(verb, "\n") + " " + tableName.FindString(query))
}
