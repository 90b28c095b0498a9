package deadletter

import (
	"context"
	"database/sql/driver"
	"io"
	"sync/atomic"
	"testing"

	"github.com/lib/pq"
)

// connector makes connections to a test's database; name tells them from another process's.
func connector(t *testing.T, dsn, name string) driver.Connector {
	t.Helper()
	address, err := pq.NewConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	address.BinaryParameters, address.ApplicationName = true, name
	c, err := pq.NewConnectorConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faultyConnector counts the statements and commits of a process, and has trouble at one of them.
type faultyConnector struct {
	driver.Connector
	dies bool
	end  func() // of the process
	left atomic.Int64
	hit  atomic.Bool
	dead atomic.Bool
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

func (f *faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if f.dead.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	c, err := f.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &faultyConn{pqConn: c.(pqConn), faulty: f}, nil
}

type faultyConn struct {
	pqConn
	faulty *faultyConnector
	broken atomic.Bool
}

// IsValid keeps a broken connection out of the pool.
func (c *faultyConn) IsValid() bool { return !c.broken.Load() && c.pqConn.IsValid() }

// run runs a statement, or what happens instead.
func (c *faultyConn) run(statement func() error) error {
	f := c.faulty
	if f.dead.Load() {
		return io.ErrUnexpectedEOF
	}
	trouble := f.left.Add(-1) == 0
	if trouble {
		f.hit.Store(true)
	}
	if trouble && f.dies {
		f.dead.Store(true)
		f.end()
		return io.ErrUnexpectedEOF
	}
	err := statement()
	if trouble {
		c.broken.Store(true)
		_ = c.Close()
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.run(func() error { r, err = c.pqConn.ExecContext(ctx, query, args); return err })
	return r, err
}

func (c *faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.run(func() error { r, err = c.pqConn.QueryContext(ctx, query, args); return err })
	return r, err
}

func (c *faultyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.pqConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &faultyStmt{s, c}, nil
}

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.pqConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &faultyTx{tx, c}, nil
}

type faultyTx struct {
	driver.Tx
	conn *faultyConn
}

func (t *faultyTx) Commit() error { return t.conn.run(t.Tx.Commit) }

type faultyStmt struct {
	driver.Stmt
	conn *faultyConn
}

func (s *faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.conn.run(func() error { r, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args); return err })
	return r, err
}

func (s *faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.conn.run(func() error { r, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args); return err })
	return r, err
}
