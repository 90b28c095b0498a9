//go:build unix

package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// routerVariable makes the test program a stand-in for router: it starts both
// servers in the directory named, says where they are, and waits to be killed.
const routerVariable = "MILLRACE_TEST_ROUTER"

// patience is how long tests wait for what must happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	RunFetchChildIfAsked()
	if dir := os.Getenv(routerVariable); dir != "" {
		if err := router(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

func router(dir string) error {
	data, err := OpenDataDir(dir)
	if err != nil {
		return err
	}
	broker, err := StartKafka(KafkaConfig{Dir: data.KafkaDir()})
	if err != nil {
		return err
	}
	postgres, err := StartPostgres(context.Background(), PostgresConfig{Dir: data.PostgresDir()})
	if err != nil {
		return err
	}
	if err := data.WriteEndpoints(Endpoints{Kafka: broker.Addr(), Postgres: postgres.DSN()}); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(Endpoints{Kafka: broker.Addr(), Postgres: postgres.DSN(), PID: postgres.process.PID()}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
	return errors.New("the test that started this is gone")
}

// launchRouter starts the stand-in as the given account.
func launchRouter(t *testing.T, dir string, as account, program string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := as.command(program)
	cmd.Env = append(cmd.Env, routerVariable+"="+dir)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewReader(stdout)
}

// startRouter waits until its servers run, too; in the endpoints it returns, PID
// is Postgres's.
func startRouter(t *testing.T, dir string, as account, program string) (*exec.Cmd, Endpoints) {
	t.Helper()
	cmd, stdout := launchRouter(t, dir, as, program)
	line, err := stdout.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the child did not start its servers: %v", err)
	}
	var e Endpoints
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	return cmd, e
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// openDir is a temporary directory that another user can get at.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// running tells whether a process exists and is not merely unburied.
func running(pid int) bool {
	if !alive(pid) {
		return false
	}
	state, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err == nil && len(state) > 0 && state[0] != 'Z'
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
