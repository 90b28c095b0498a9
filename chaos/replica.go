package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"millrace/bench/rig"
	"millrace/chaos/wire"
	"millrace/embedded/child"
)

const (
	// restartPause is how long whoever runs the routers takes to start one anew that has ended by itself, as it
	// does when it finds no servers at its start.
	restartPause = 500 * time.Millisecond
	// readyPoll is how often a router is asked whether it is ready.
	readyPoll = 50 * time.Millisecond
	// readyPatience is how long a router may take to get ready once everything is healed: a session that has to
	// run out, a rebalance, a start on a busy machine.
	readyPatience = 90 * time.Second
)

// replica is one router. It has a way to the database of its own, and comes up again at the same addresses.
type replica struct {
	name       string
	binary     string
	dir        string
	env        []string
	url, admin string
	proxy      *wire.Postgres

	mu      sync.Mutex
	process *child.Process
	began   time.Time // of the process
	wanted  bool      // it is to run
	closed  bool      // never again
	ended   []ending  // by itself, each time
}

// ending is the end of a process that nobody had told to end.
type ending struct {
	router    string
	began, at time.Time
	code      int // its exit code; -1: a signal ended it
	why       string
}

func newReplica(name, binary, dir string, dial func() (net.Conn, error)) (*replica, error) {
	public, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	r := &replica{name: name, binary: binary, dir: dir, url: "http://" + public, admin: "http://" + admin}
	if r.proxy, err = wire.NewPostgres(dial); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(public) // it was made of the two
	r.env = []string{"HTTP_PORT=" + port, "ADMIN_ADDR=" + admin, "ORDER_PORT=0", "INVENTORY_PORT=0", "PAYMENT_PORT=0",
		"NOTIFICATION_PORT=0", "ANALYTICS_PORT=0", "SHIPPING_PORT=0"}
	return r, nil
}

func (r *replica) logPath() string { return filepath.Join(r.dir, r.name+".log") }

// inherited is what a program gets of this one's environment: where programs and files are.
func inherited() (env []string) {
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "PG_BIN"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// start has it run from now on.
func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = true
	return r.launch()
}

// launch starts the process; the caller holds mu.
func (r *replica) launch() error {
	if r.closed || r.process != nil && !over(r.process) {
		return nil
	}
	cmd := exec.Command(r.binary, "serve")
	cmd.Dir, cmd.Env = r.dir, append(inherited(), r.env...)
	p, err := child.Start(cmd, syscall.SIGKILL, r.logPath())
	if err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	r.process, r.began = p, time.Now()
	go r.watch(p)
	return nil
}

// watch starts it anew when it ends without having been told to.
func (r *replica) watch(p *child.Process) {
	<-p.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.wanted || r.process != p {
		return
	}
	e := ending{router: r.name, began: r.began, at: time.Now(), why: lastWords(p)}
	if exit := new(exec.ExitError); errors.As(p.Err(), &exit) {
		e.code = exit.ExitCode()
	}
	r.ended = append(r.ended, e)
	time.AfterFunc(restartPause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.wanted && r.process == p {
			_ = r.launch() // awaitReady tells
		}
	})
}

// longestReason is how much of a log's last line is kept.
const longestReason = 300

// lastWords are how a process ended, and the last line that it printed.
func lastWords(p *child.Process) string {
	how, last := "exit status 0", []rune(strings.TrimSpace(lastLine([]byte(p.LogTail()))))
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return how + ": " + string(last[:min(len(last), longestReason)])
}

func over(p *child.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// kill is kill -9; it stays away until start. It tells whether there was one to kill.
func (r *replica) kill() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = false
	if r.process == nil || over(r.process) {
		return false
	}
	r.process.Stop(0)
	return true
}

// exitInterrupted is how a router ends that is told to stop before it runs.
const exitInterrupted = 130

// stop is SIGTERM; it stays away until start. The error says that it did not end well.
func (r *replica) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = false
	if r.process == nil || over(r.process) {
		return nil
	}
	began := time.Now()
	r.process.Stop(stopPatience, syscall.SIGTERM)
	if time.Since(began) > stopPatience {
		return fmt.Errorf("%s did not end within %s of SIGTERM", r.name, stopPatience)
	}
	err := r.process.Err()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == exitInterrupted {
		err = nil // it was still starting
	}
	if err != nil {
		return fmt.Errorf("%s was told to stop and did not end well: %w; %s", r.name, err, r.process.LogTail())
	}
	return nil
}

// signal tells whether there was a process that got it.
func (r *replica) signal(s syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process != nil && !over(r.process) && syscall.Kill(r.process.PID(), s) == nil
}

func (r *replica) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for why := errors.New("it has not answered"); ; {
		_, err := rig.Get(ctx, r.admin+"/readyz?verbose")
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			why = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w", r.name, readyPatience, why)
		case <-time.After(readyPoll):
		}
	}
}

// wrongs are words in a log that no fault excuses.
var wrongs = []string{"panic:", "DATA RACE", "fatal error:"}

// complaints are the lines with such words.
func (r *replica) complaints() (list []string, err error) {
	text, err := os.ReadFile(r.logPath())
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", r.name, err)
	}
	for line := range strings.Lines(string(text)) {
		for _, wrong := range wrongs {
			if strings.Contains(line, wrong) {
				list = append(list, r.name+": "+strings.TrimSpace(line))
			}
		}
	}
	return list, nil
}

// endings are how it ended by itself.
func (r *replica) endings() []ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended)
}

func (r *replica) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.kill()
	r.proxy.Close()
}
