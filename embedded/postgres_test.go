//go:build unix

package embedded

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func startPostgres(t *testing.T, c PostgresConfig) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func execute(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func ask(t *testing.T, dsn, query string) (answer string) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

var kept = []string{"CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)"}

func wantKept(t *testing.T, dsn string) {
	t.Helper()
	if got := ask(t, dsn, "SELECT n FROM kept"); got != "42" {
		t.Errorf("the row committed before is %q, want 42", got)
	}
}

func TestPostgresIsDurableAndPrivate(t *testing.T) {
	for variable, other := range map[string]string{"PGPORT": "1", "PGHOST": "elsewhere", "PGDATA": "/nowhere", "PGUSER": "other", "PGSSLMODE": "require"} {
		t.Setenv(variable, other)
	}
	dir := filepath.Join(openDir(t), "postgres")
	p, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "timezone": "UTC",
	} {
		if got := ask(t, p.DSN(), "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if info, err := os.Stat(p.socket); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory has mode %v (%v), want 0700", info.Mode(), err)
	}
	execute(t, p.DSN(), kept...)
	p.Close()
	p.Close()
	if err := p.Err(); err != nil {
		t.Errorf("after a Close, Err is %v", err)
	}
	wantKept(t, startPostgres(t, PostgresConfig{Dir: dir}).DSN())
}

func TestPostgresInAwkwardDirectories(t *testing.T) {
	for name, path := range map[string]string{
		"deep":        strings.Repeat("deep/", 40),
		"punctuation": `it's a "dir", 100% & more`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(openDir(t), path)
			if err := os.MkdirAll(dir, 0o711); err != nil {
				t.Fatal(err)
			}
			p := startPostgres(t, PostgresConfig{Dir: filepath.Join(dir, "postgres"), Throwaway: true})
			if got := ask(t, p.DSN(), "SELECT 1"); got != "1" {
				t.Errorf("SELECT 1 answers %s", got)
			}
		})
	}
}

func TestPostgresComesBackAfterItsServerWasKilled(t *testing.T) {
	dir := filepath.Join(openDir(t), "postgres")
	p := startPostgres(t, PostgresConfig{Dir: dir})
	execute(t, p.DSN(), kept...)
	kill(t, p.process.PID())
	<-p.Done()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err after a kill is %v", err)
	}
	wantKept(t, startPostgres(t, PostgresConfig{Dir: dir}).DSN())
}

// After a power cut the process id in postmaster.pid may be anybody's.
func TestPostgresStartsThoughItsOldProcessIDIsTaken(t *testing.T) {
	dir := filepath.Join(openDir(t), "postgres")
	p := startPostgres(t, PostgresConfig{Dir: dir})
	execute(t, p.DSN(), kept...)
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	left, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, p.process.PID())
	<-p.Done()

	b, err := findOrFetchPostgres(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	as, err := chooseAccount(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	bystander := as.command("sleep", "1000") // Postgres fears processes of its own user
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	})
	_, rest, _ := strings.Cut(string(left), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(bystander.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKept(t, startPostgres(t, PostgresConfig{Dir: dir}).DSN())
	if !running(bystander.Process.Pid) {
		t.Error("the bystander was stopped")
	}
}

func TestPostgresStopsAnOrphanOnItsData(t *testing.T) {
	dir := filepath.Join(openDir(t), "postgres")
	p := startPostgres(t, PostgresConfig{Dir: dir, Throwaway: true})
	execute(t, p.DSN(), kept...)
	p.Close()
	b, err := findOrFetchPostgres(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	as, err := chooseAccount(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(dir, "data")
	if _, err := socketDirectory(dir, as); err != nil {
		t.Fatal(err)
	}
	orphan := as.command(b.path("postgres"), "-D", cluster, "-c", "listen_addresses=", "-c", "unix_socket_directories="+p.socket)
	orphan.Dir = dir
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	eventually(t, "the orphan writes postmaster.pid", func() bool {
		_, err := os.Stat(filepath.Join(cluster, "postmaster.pid"))
		return err == nil
	})
	wantKept(t, startPostgres(t, PostgresConfig{Dir: dir}).DSN())
	if err := <-ended; err != nil {
		t.Errorf("the orphan was not stopped in order: %v", err)
	}
}

func TestPostgresRefusesWhatItCannotServe(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		says    []string
	}{
		{"another major version", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "data", "PG_VERSION"), "99\n")
		}, []string{"version 99", "PG_BIN", "DATA_DIR"}},
		{"something else in its place", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "data", "letters.txt"), "dear")
		}, []string{"no PostgreSQL data directory", "DATA_DIR"}},
		{"a PG_BIN without Postgres", func(t *testing.T, dir string) {
			t.Setenv("PG_BIN", dir)
		}, []string{"PG_BIN=", "initdb"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := openDir(t)
			c.prepare(t, dir)
			before := list(t, dir)
			_, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir})
			if err == nil {
				t.Fatal("it started")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not mention %q: %v", s, err)
				}
			}
			if after := list(t, dir); after != before {
				t.Errorf("the directory was changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

func TestAFailedStartSaysWhatTheServerLogged(t *testing.T) {
	dir := filepath.Join(openDir(t), "postgres")
	p := startPostgres(t, PostgresConfig{Dir: dir, Throwaway: true})
	p.Close()
	control := filepath.Join(dir, "data", "global", "pg_control")
	if err := os.Truncate(control, 8); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir, Throwaway: true})
	if err == nil || !strings.Contains(err.Error(), "pg_control") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
}

func TestAnUnfinishedInitdbIsBegunAgain(t *testing.T) {
	dir := openDir(t)
	write(t, filepath.Join(dir, "data.initdb", "PG_VERSION"), "15\n")
	startPostgres(t, PostgresConfig{Dir: dir, Throwaway: true})
}

func TestACancelledStartLeavesNoServer(t *testing.T) {
	dir := filepath.Join(openDir(t), "postgres")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartPostgres(ctx, PostgresConfig{Dir: dir, Throwaway: true}); err == nil {
		t.Fatal("a cancelled start succeeded")
	}
	if left, err := exec.Command("pgrep", "-f", dir).Output(); err == nil {
		t.Errorf("processes are left: %s", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// list names everything in a directory.
func list(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, "\n")
}
