package rig

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestAProcessIsReadFromProc(t *testing.T) {
	s, err := readStat(os.Getpid())
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	if s.parent != os.Getppid() {
		t.Errorf("the parent is %d, want %d", s.parent, os.Getppid())
	}
	burnt := func() bool { again, err := readStat(os.Getpid()); return err != nil || again.cpu > s.cpu }
	for begin := time.Now(); !burnt() && time.Since(begin) < time.Minute; {
	}
	if again, err := readStat(os.Getpid()); err != nil || again.cpu <= s.cpu || again.started != s.started {
		t.Errorf("after more work: %+v (%v), before %+v", again, err, s)
	}
	cmd := exec.Command("/bin/sh", "-c", "sleep 60 & echo $!; read end; kill $!")
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = end.Close(); _ = cmd.Wait() }()
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	children, err := childrenOf(cmd.Process.Pid)
	if err != nil || len(children) != 1 || children[0].pid != child {
		t.Errorf("children are %+v (%v), want %d alone", children, err, child)
	}
}

func TestPostgresRolesAreToldFromTitles(t *testing.T) {
	for title, want := range map[string]string{
		"postgres: autovacuum worker shop":           PostgresAutovacuum,
		"postgres: autovacuum launcher":              PostgresOther,
		"postgres: walwriter":                        PostgresWALWriter,
		"postgres: checkpointer":                     PostgresCheckpointer,
		"postgres: postgres shop [local] idle":       PostgresBackends,
		"postgres: postgres shop 127.0.0.1(4) BIND":  PostgresBackends,
		"postgres: background writer":                PostgresOther,
		"/usr/lib/postgresql/15/bin/postgres -D dir": PostgresOther,
	} {
		if got := roleOf(title); got != want {
			t.Errorf("%q is %q, want %q", title, got, want)
		}
	}
}
