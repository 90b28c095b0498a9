//go:build unix

package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// parentVariable makes the test program a parent that is to be killed: it
// starts a child, tied the way the variable names, and tells its process id.
const parentVariable = "MILLRACE_TEST_PARENT"

// patience is how long tests wait for what must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if how := os.Getenv(parentVariable); how != "" {
		if err := parent(how, os.Getenv("TMPDIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

func parent(how, dir string) error {
	cmd := exec.Command("sleep", "1000")
	switch how {
	case "start":
		if _, err := Start(cmd, syscall.SIGINT, filepath.Join(dir, "log")); err != nil {
			return err
		}
	case "watchdog":
		if err := cmd.Start(); err != nil {
			return err
		}
		if _, err := watch(cmd.Process.Pid, syscall.SIGINT); err != nil {
			return err
		}
	}
	fmt.Println(cmd.Process.Pid)
	_, err := io.Copy(io.Discard, os.Stdin) // ends when the parent's parent does
	return err
}

func TestAChildEndsWithItsParent(t *testing.T) {
	for _, how := range []string{"start", "watchdog"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), parentVariable+"="+how, "TMPDIR="+t.TempDir())
			if _, err := cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid := strings.TrimSpace(line)
			if !running(pid) {
				t.Fatal("the child does not run before the kill")
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(patience); running(pid); <-tick.C {
				if time.Now().After(deadline) {
					n, _ := strconv.Atoi(pid)
					_ = syscall.Kill(n, syscall.SIGKILL)
					t.Fatal("the child outlives its parent")
				}
			}
		})
	}
}

func TestTheWatchdogGoesWithTheChild(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	untie, err := watch(cmd.Process.Pid, syscall.SIGINT)
	if err != nil {
		t.Fatal(err)
	}
	untie()
	if !running(strconv.Itoa(cmd.Process.Pid)) {
		t.Error("the watchdog signalled a child that was untied")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestStopGoesFromAskingToKilling(t *testing.T) {
	// Where it has to end by a signal there is time for it; where it ignores one, the next comes soon.
	const soon, enough = 20 * time.Millisecond, 2 * time.Second
	for script, want := range map[string]string{
		`trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`:              "exit status 0",
		`trap '' TERM; trap 'exit 7' INT; echo up; while :; do sleep 0.01; done`: "exit status 7",
		`trap '' TERM INT; echo up; while :; do sleep 0.01; done`:                "signal: killed",
	} {
		path := filepath.Join(t.TempDir(), "log")
		p, err := Start(exec.Command("/bin/sh", "-c", script), syscall.SIGKILL, path)
		if err != nil {
			t.Fatal(err)
		}
		awaitText(t, path, "up")
		if p.Err() != nil {
			t.Errorf("Err of a running child is %v", p.Err())
		}
		patience := map[string]time.Duration{"exit status 0": time.Minute, "exit status 7": enough, "signal: killed": soon}[want]
		p.Stop(patience, syscall.SIGTERM, syscall.SIGINT)
		p.Stop(patience, syscall.SIGTERM)
		got := "exit status 0"
		if p.Err() != nil {
			got = p.Err().Error()
		}
		if got != want {
			t.Errorf("%s\nended with %s, want %s", script, got, want)
		}
	}
}

func TestRunEndsWithTheProgramOrTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := Run(t.Context(), exec.Command("true"), path); err != nil {
		t.Error(err)
	}
	err := Run(t.Context(), exec.Command("/bin/sh", "-c", "echo no disk >&2; exit 3"), path)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("the error of a program that failed is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, exec.Command("sleep", "1000"), path); !errors.Is(err, context.Canceled) {
		t.Errorf("the error after a cancel is %v", err)
	}
}

func TestTheLogTellsOfThisStartAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, says := range []string{"first", "second"} {
		p, err := Start(exec.Command("/bin/sh", "-c", "echo "+says+"; printf '\\tat java.Frame\\n'; exit 3"), syscall.SIGKILL, path)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if tail := p.LogTail(); !strings.HasSuffix(tail, "ends with:\n  "+says) {
			t.Errorf("the tail is %q, want %s alone", tail, says)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "first\n") {
		t.Errorf("the log of the first start is gone: %q (%v)", text, err)
	}
}

func TestAFullLogIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, logLimit+1), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Start(exec.Command("true"), syscall.SIGKILL, path)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	for name, want := range map[string]int64{path: 0, path + ".1": logLimit + 1} {
		if info, err := os.Stat(name); err != nil || info.Size() != want {
			t.Errorf("%s: %v, want %d bytes", name, err, want)
		}
	}
}

func TestAProgramThatIsMissingIsNamed(t *testing.T) {
	_, err := Start(exec.Command("/nowhere/postgres"), syscall.SIGKILL, filepath.Join(t.TempDir(), "log"))
	if err == nil || !strings.Contains(err.Error(), "/nowhere/postgres") {
		t.Errorf("the error is %v", err)
	}
}

func awaitText(t *testing.T, path, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if got, err := os.ReadFile(path); err == nil && strings.Contains(string(got), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not say %q", path, text)
		}
	}
}

// running tells whether a process exists and is not merely unburied.
func running(pid string) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && len(state) > 0 && state[0] != 'Z'
}
