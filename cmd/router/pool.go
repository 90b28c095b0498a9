package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"time"

	"github.com/lib/pq"

	"millrace/httpapi"
)

const (
	// connectPatience is for a server that takes a connection and says nothing, unless the address has a
	// connect_timeout. The driver would wait for ever, whatever the context says.
	connectPatience = 10 * time.Second
	// silence is how long a connection that was asked something may say nothing. A host that vanished is
	// given up by the kernel after a quarter of an hour only, one that is frozen never. No
	// statement of ours takes as long: a request's has its time-out, the others have shorter ones.
	silence = httpapi.MaxRequestTimeout + 5*time.Second
)

// openPool connects to a database. limit is for connections; patience is for each read and write
// on them, 0 is none.
func openPool(ctx context.Context, dsn string, limit int, patience time.Duration) (*sql.DB, error) {
	address, err := addressOf(dsn)
	if err != nil {
		return nil, fmt.Errorf("its address is not readable: %w", err)
	}
	connector, err := pq.NewConnectorConfig(address)
	if err != nil {
		return nil, fmt.Errorf("its address is not readable: %w", err)
	}
	connector.Dialer(&dialer{patience: patience})
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(limit)
	db.SetMaxIdleConns(limit) // a statement is prepared once per connection: keep them
	db.SetConnMaxIdleTime(connectionIdle)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("it cannot be used: %w", err)
	}
	return db, nil
}

// addressOf reads a DSN, and adds the connect_timeout it lacks.
func addressOf(dsn string) (pq.Config, error) {
	address, err := pq.NewConfig(dsn)
	// Arrays go out in binary (outbox.UUIDArray and the others), and a query that is not prepared takes one
	// round trip instead of two.
	address.BinaryParameters = true
	if address.ConnectTimeout == 0 {
		address.ConnectTimeout = connectPatience
	}
	return address, err
}

// dialer makes connections that give up a silent server.
type dialer struct {
	net      net.Dialer
	patience time.Duration
}

// DialContext is what the driver uses of the three.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.net.DialContext(ctx, network, address)
	if err != nil || d.patience == 0 {
		return c, err
	}
	return &patientConn{Conn: c, patience: d.patience}, nil
}

// Dial and DialTimeout are there because the driver's interface has them.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// patientConn gives each read and write the same time. The driver reads only after it has asked.
type patientConn struct {
	net.Conn
	patience time.Duration
	// until is the driver's own deadline, for the time of connecting.
	until time.Time
}

func (c *patientConn) SetDeadline(t time.Time) error {
	c.until = t
	return c.Conn.SetDeadline(t)
}

func (c *patientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *patientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *patientConn) deadline() time.Time {
	if t := time.Now().Add(c.patience); c.until.IsZero() || t.Before(c.until) {
		return t
	}
	return c.until
}
