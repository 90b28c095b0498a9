//go:build unix

// Package testserver gives tests the servers Millrace runs on: a real Postgres,
// the Kafka protocol in memory, and a real Apache Kafka. A test asks for one and
// gets it; there is nothing to set up and nothing to clean up.
//
// One Postgres and one Apache Kafka serve a test process, started when a test
// first asks. They end with the process, however it ends. Only tests import this.
package testserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace/embedded"
)

// startTimeout bounds a server's start on a machine busy with other tests.
const startTimeout = 3 * time.Minute

// tests is what can be run, a *testing.M.
type tests interface{ Run() int }

// Main runs the tests, stops the servers and exits. For TestMain.
func Main(m *testing.M) { os.Exit(Stopping(m).Run()) }

// Stopping is m with the servers stopped after the tests, for a TestMain that
// looks further: goleak.VerifyTestMain(testserver.Stopping(m)).
func Stopping(m *testing.M) tests {
	embedded.RunFetchChildIfAsked()
	return stopping{m}
}

type stopping struct{ tests }

func (s stopping) Run() int {
	code := s.tests.Run()
	servers.Lock()
	defer servers.Unlock()
	for i := len(servers.stops) - 1; i >= 0; i-- {
		servers.stops[i]()
	}
	servers.stops = nil
	return code
}

// servers are those of this process.
var servers struct {
	sync.Mutex
	stops []func()
}

// atEnd has stop called when the tests are over.
func atEnd(stop func()) {
	servers.Lock()
	defer servers.Unlock()
	servers.stops = append(servers.stops, stop)
}

// shared is a server started once for all tests of the process; a failed start
// is not tried again, it would fail each test as slowly as the first.
type shared[S any] struct {
	once   sync.Once
	server S
	err    error
}

func (s *shared[S]) get(start func(ctx context.Context) (S, error)) (S, error) {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s.server, s.err = start(ctx)
	})
	return s.server, s.err
}

// The directories of test servers: directoryPrefix and a random part, in them
// a lock that lives as long as the test process.
const (
	directoryPrefix = "millrace-test-"
	lockName        = "lock"
	// directoryAge is how old an abandoned one has to be: a younger one may
	// just not be locked yet.
	directoryAge = time.Minute
)

// newDirectory makes a directory for one server, removed when the tests are
// over. Tests that were killed cannot remove theirs, so it looks for such first.
func newDirectory() (string, error) {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), directoryPrefix+"*")) // the pattern is well formed
	for _, dir := range left {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < directoryAge {
			continue
		}
		if lock, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir) // not ours, perhaps: the next one tries again
			_ = lock.Close()
		}
	}
	dir, err := os.MkdirTemp("", directoryPrefix)
	if err != nil {
		return "", fmt.Errorf("make a directory for a test server: %w", err)
	}
	held, err := lock(dir)
	if err != nil {
		return "", fmt.Errorf("lock the directory of a test server: %w", err)
	}
	// As root, the server runs as another user, who has to get in.
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("open the directory of a test server: %w", err)
	}
	atEnd(func() {
		_ = os.RemoveAll(dir)
		_ = held.Close()
	})
	return dir, nil
}

// lock takes the lock of a test server's directory, or fails if its process lives.
func lock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
