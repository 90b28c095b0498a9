package main

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"millrace/config"
	"millrace/testserver"
)

// DATABASE_URL as an operator would write it, sslmode=verify-full, on a server that wants
// encryption and a password: the schemas are made by a user without special rights. A
// server that is not the one meant ends the start with one sentence, before it gets the password.
func TestDatabaseOverTLS(t *testing.T) {
	t.Parallel()
	authority := testserver.NewAuthority(t)
	address := testserver.TLSPostgresURL(t, authority)
	trusted, foreign := authority.File(t), testserver.NewAuthority(t).File(t)
	verified := func(ca string) url.Values { return url.Values{"sslmode": {"verify-full"}, "sslrootcert": {ca}} }
	for _, test := range []struct {
		name  string
		query url.Values
		alter func(*url.URL)
		want  string // in the error; empty: it opens
	}{
		{"the server that is meant", verified(trusted), nil, ""},
		{"foreign authority", verified(foreign), nil, "certificate signed by unknown authority"},
		{"another host", verified(trusted), func(u *url.URL) { u.Host = "localhost:" + u.Port() }, "wanted to match localhost"},
		{"no such file", verified("/nowhere/ca.pem"), nil, "/nowhere/ca.pem"},
		{"no TLS here", url.Values{"sslmode": {"disable"}}, nil, "no encryption"},
		{"no TLS there", verified(trusted), func(u *url.URL) { u.Host = withoutTLS(t) }, "SSL is not enabled on the server"},
		{"wrong password", verified(trusted), func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "Wr0ng") }, "password authentication failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := *address
			u.RawQuery = test.query.Encode()
			if test.alter != nil {
				test.alter(&u)
			}
			cfg, err := config.Load(map[string]string{"DATABASE_URL": u.String()})
			if err != nil {
				t.Fatal(err)
			}
			if err := checkDatabaseURLs(cfg); err != nil {
				t.Fatal(err)
			}
			var log journal
			var c closers
			err = groupByDatabase(cfg, &servers{})[0].open(t.Context(), cfg, logTo(&log), &c)
			if closeErr := c.close(); closeErr != nil {
				t.Error(closeErr)
			}
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "(DATABASE_URL)") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("not one sentence with %q: %v", test.want, err)
			}
			password, _ := u.User.Password()
			for _, secret := range []string{password, url.UserPassword("", password).String()} { // as it is, and as in the URL
				if strings.Contains(err.Error()+log.String(), secret) {
					t.Errorf("the password is told: %v; %s", err, log.String())
				}
			}
		})
	}
}

// withoutTLS is a server that says no when it is asked to encrypt, as Postgres does with
// ssl=off. It fails the test when it is told more than that question.
func withoutTLS(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			question := make([]byte, 8) // the length and the code of an SSLRequest
			if _, err := conn.Read(question); err == nil {
				_, _ = conn.Write([]byte("N"))
				if n, err := conn.Read(question); err == nil {
					t.Errorf("it was told %d bytes without encryption", n)
				}
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}
