package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/outbox"
	"millrace/testserver"
)

// A server that takes connections and says nothing: the driver alone would wait for ever.
func TestASilentDatabaseIsAnError(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, err = openPool(t.Context(), "postgres://shop:pa55word@"+silent.Addr().String()+"/shop?connect_timeout=1", 1, silence)
	if err == nil || !strings.Contains(err.Error(), "it cannot be used: ") || strings.Contains(err.Error(), "pa55word") {
		t.Error(err)
	}
	if address, err := addressOf("postgres://shop@" + silent.Addr().String() + "/shop"); err != nil || address.ConnectTimeout != connectPatience {
		t.Errorf("without a connect_timeout: %s, %v", address.ConnectTimeout, err)
	}
}

// One that falls silent later, as a frozen or vanished host does. What waited is tried again elsewhere.
func TestADatabaseThatFallsSilentIsGivenUp(t *testing.T) {
	db, err := openPool(t.Context(), testserver.PostgresDSN(t), 1, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "SELECT pg_sleep(30)"); !outbox.IsTransient(err) {
		t.Errorf("a statement without an answer: %v", err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// What is idle is not silent, and the driver's own deadline stands while it connects.
func TestPatienceIsForEachReadAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		c := &patientConn{Conn: here, patience: time.Minute}
		defer c.Close()
		took := func() time.Duration {
			began := time.Now()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			return time.Since(began)
		}
		if d := took(); d != time.Minute {
			t.Errorf("the first read gave up after %s", d)
		}
		if d := took(); d != time.Minute {
			t.Errorf("the second read gave up after %s", d)
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if d := took(); d != time.Second {
			t.Errorf("a read while connecting gave up after %s", d)
		}
		_ = c.SetDeadline(time.Time{})
		if d := took(); d != time.Minute {
			t.Errorf("a read once connected gave up after %s", d)
		}
	})
}
