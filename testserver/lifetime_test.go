//go:build unix

package testserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/testserver"
)

// childVariable makes a test program start its servers and hold them.
const childVariable = "MILLRACE_TEST_HOLD_SERVERS"

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// TestHoldServers is the child of the next test, nothing otherwise.
func TestHoldServers(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		return
	}
	dsn := testserver.PostgresDSN(t)
	cluster := setting(t, dsn, "data_directory")
	fmt.Printf("servers %s %s\n", cluster, testserver.RealKafka(t))
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
}

func TestKillMinusNineOfATestProgramLeavesNoServer(t *testing.T) {
	testserver.RealKafka(t) // skips or fails here where there is none
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldServers$")
	cmd.Env = append(os.Environ(), childVariable+"=1")
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
	var cluster, kafka string
	for lines := bufio.NewScanner(stdout); kafka == "" && lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "servers "); ok {
			cluster, kafka, _ = strings.Cut(rest, " ")
		}
	}
	defer os.RemoveAll(filepath.Dir(filepath.Dir(cluster)))
	if kafka == "" {
		t.Fatal("the child started no servers")
	}
	text, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	if !exists(pid) || !listening(kafka) {
		t.Fatal("the servers do not run before the kill")
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); exists(pid) || listening(kafka); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%v after the kill: Postgres runs: %v, Kafka runs: %v", patience, exists(pid), listening(kafka))
		}
	}
}

// exists tells whether a process exists and is not merely unburied.
func exists(pid string) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && len(state) > 0 && state[0] != 'Z'
}

func listening(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
