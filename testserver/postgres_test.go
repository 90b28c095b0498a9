//go:build unix

package testserver_test

import (
	"database/sql"
	"testing"

	"go.uber.org/goleak"

	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	one, two := testserver.Postgres(t), testserver.Postgres(t)
	if _, err := one.Exec("CREATE TABLE here (n int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Exec("SELECT * FROM here"); err == nil {
		t.Error("a table made in one database is visible in the other")
	}
}

func TestOnlyTheDurableServerWaitsForTheDisk(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"Postgres", setting(t, testserver.PostgresDSN(t), "fsync"), "off"},
		{"DurablePostgres", setting(t, testserver.DurablePostgresDSN(t), "fsync"), "on"},
	} {
		if c.got != c.want {
			t.Errorf("fsync of %s is %s, want %s", c.name, c.got, c.want)
		}
	}
}

func setting(t *testing.T, dsn, name string) (value string) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SHOW " + name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
