//go:build unix

package testserver

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"

	"millrace/embedded"
	"millrace/embedded/child"
)

// The one account and database of a server that TLSPostgresURL starts.
const (
	tlsUser     = "shop"
	tlsPassword = "pa55 w:rd/%" // nothing in it goes into a URL as it is
	tlsDatabase = "shop"
	// tlsHBA lets in nobody without encryption and password.
	tlsHBA = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
	// tlsPoll is how often a starting server is asked whether it answers.
	tlsPoll = 20 * time.Millisecond
	// tlsStopPatience is for a fast stop, without a disk to wait for.
	tlsStopPatience = 10 * time.Second
)

// TLSPostgresURL is the address of an empty database on a server of the test's
// own, as an operator would set one up: on a TCP port of 127.0.0.1, with a
// certificate of the authority, for one user without special rights, who has to
// encrypt and to give a password. The address has no sslmode yet.
func TLSPostgresURL(tb testing.TB, authority *Authority) *url.URL {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	dir, err := newDirectory()
	if err != nil {
		tb.Fatal(err)
	}
	base := filepath.Join(dir, "postgres")
	programs, err := prepareTLS(ctx, base)
	if err != nil {
		tb.Fatalf("prepare a Postgres with TLS: %v", err)
	}
	account, err := ownerOf(base)
	if err != nil {
		tb.Fatal(err)
	}
	if account != nil && account.Uid == 0 {
		tb.Skipf("LEFT OUT: not tested on a Postgres with TLS: only root gets at %s, and Postgres does not run as root", programs)
	}
	certFile, keyFile := writePair(tb, base, authority.Issue(tb, "postgres"))
	hbaFile := filepath.Join(base, "hba.conf")
	if err := os.WriteFile(hbaFile, []byte(tlsHBA), 0o600); err != nil {
		tb.Fatal(err)
	}
	if account != nil {
		for _, file := range []string{certFile, keyFile, hbaFile} {
			if err := os.Chown(file, int(account.Uid), int(account.Gid)); err != nil {
				tb.Fatal(err)
			}
		}
	}
	port := freePort(tb)
	cmd := exec.Command(filepath.Join(programs, "postgres"), "-D", filepath.Join(base, "data"))
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "port=" + port, "unix_socket_directories=", "fsync=off",
		"ssl=on", "ssl_cert_file=" + certFile, "ssl_key_file=" + keyFile, "hba_file=" + hbaFile,
	} {
		cmd.Args = append(cmd.Args, "-c", setting)
	}
	cmd.Dir = base
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	server, err := child.Start(cmd, syscall.SIGQUIT, filepath.Join(base, "tls.log"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { server.Stop(tlsStopPatience, syscall.SIGINT) })
	address := &url.URL{Scheme: "postgres", User: url.UserPassword(tlsUser, tlsPassword), Host: net.JoinHostPort("127.0.0.1", port), Path: "/" + tlsDatabase}
	if err := awaitTLS(ctx, address, server); err != nil {
		tb.Fatal(err)
	}
	return address
}

// prepareTLS makes a cluster with user and database in it, and tells where the
// programs are that it takes to run it.
func prepareTLS(ctx context.Context, base string) (programs string, err error) {
	server, err := embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: base, Throwaway: true})
	if err != nil {
		return "", err
	}
	defer server.Close()
	db, err := sql.Open("postgres", server.DSN())
	if err != nil {
		return "", err
	}
	defer db.Close()
	for _, statement := range []string{
		"CREATE ROLE " + tlsUser + " LOGIN PASSWORD " + pq.QuoteLiteral(tlsPassword),
		"CREATE DATABASE " + tlsDatabase + " OWNER " + tlsUser,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	err = db.QueryRowContext(ctx, "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&programs)
	return programs, err
}

// ownerOf is whom the cluster belongs to, and so its server has to run as; nil
// where that is this user.
func ownerOf(dir string) (*syscall.Credential, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return nil, nil
	}
	owner := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, nil
}

// freePort is one that was free a moment ago: Postgres cannot choose its own.
func freePort(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func awaitTLS(ctx context.Context, address *url.URL, server *child.Process) error {
	encrypted := *address
	encrypted.RawQuery = "sslmode=require"
	db, err := sql.Open("postgres", encrypted.String())
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-server.Done():
			return fmt.Errorf("the Postgres with TLS ended (%w); %s", server.Err(), server.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the Postgres with TLS does not answer: %w; %s", err, server.LogTail())
		case <-time.After(tlsPoll):
		}
	}
}
