//go:build unix

package story_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"millrace/config"
	"millrace/embedded/child"
)

const (
	// patience is how long a story waits for what must happen: many times what it takes,
	// since all stories share two cores with the race detector.
	patience = 90 * time.Second
	// look is how often it looks.
	look = 40 * time.Millisecond
	// stopPatience is more than SHUTDOWN_TIMEOUT, within which a router has to end.
	stopPatience = 30 * time.Second
	// logShown is how much of a log a failed story shows.
	logShown = 150
)

// The secrets that provider and carrier sign with.
const (
	providerSecret = "the provider's secret"
	carrierSecret  = "the carrier's secret"
)

// settings are environment variables of a router.
type settings map[string]string

// with is the settings and some more, which stand above them.
func (s settings) with(more settings) settings {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// node is one router process. It can be stopped or killed, and started again at the
// same addresses.
type node struct {
	tb       testing.TB
	services []string
	env      settings
	logPath  string
	ports    map[string]int // by service; "" is the one with all routes
	admin    string
	process  *child.Process
	running  atomic.Bool
}

// startNode starts a router with those settings and waits until it is ready. It is
// stopped after the test, and must have behaved until then.
func startNode(tb testing.TB, env settings) *node {
	tb.Helper()
	n := prepareNode(tb, env)
	n.start()
	return n
}

// prepareNode is startNode without the start.
func prepareNode(tb testing.TB, env settings) *node {
	tb.Helper()
	n := &node{tb: tb, services: config.AllServices(), logPath: filepath.Join(tb.TempDir(), "router.log"), ports: map[string]int{}}
	n.env = settings{
		"DATA_DIR": tb.TempDir(), "HTTP_HOST": "127.0.0.1", "LOG_FORMAT": "text", "LOG_LEVEL": "info",
		"PAYMENT_CALLBACK_SECRET": providerSecret, "CARRIER_CALLBACK_SECRET": carrierSecret,
		"CARRIER_STEP": "50ms",
	}.with(env)
	if n.env["SERVICES"] != "" {
		n.services = strings.Split(n.env["SERVICES"], ",")
	}
	for _, name := range append([]string{"HTTP"}, n.services...) {
		port := freePort(tb)
		n.env[strings.ToUpper(name)+"_PORT"] = strconv.Itoa(port)
		n.ports[strings.TrimPrefix(name, "HTTP")] = port
	}
	n.admin = address(freePort(tb))
	n.env["ADMIN_ADDR"] = n.admin
	tb.Cleanup(n.end)
	return n
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// The ports of a story are below those that the system gives to outgoing connections, which could otherwise take one between a
// router's end and its next start.
const firstPort, lastPort = 20_000, 32_000

// portsGiven counts those that were given out, from a random one on: other test processes count too.
var (
	portsGiven atomic.Int64
	portsFrom  = rand.Int64N(lastPort - firstPort)
)

// freePort finds a port that nobody has, nor had in this process: its router may be away just now, and come back.
func freePort(tb testing.TB) int {
	tb.Helper()
	const tries = 100
	for range tries {
		port := firstPort + int((portsFrom+portsGiven.Add(1))%(lastPort-firstPort))
		if l, err := net.Listen("tcp", address(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatalf("no free port among %d between %d and %d", tries, firstPort, lastPort)
	return 0
}

// startsAtOnce bounds the routers that start at the same time: a start is work for a core,
// and several slow ones would wait too long for their broker.
const startsAtOnce = 2

var starts = make(chan struct{}, startsAtOnce)

// start starts the process and waits until it is ready.
func (n *node) start() {
	n.tb.Helper()
	starts <- struct{}{}
	defer func() { <-starts }()
	path, err := routerBinary()
	if err != nil {
		n.tb.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	for _, name := range slices.Sorted(maps.Keys(n.env)) {
		cmd.Env = append(cmd.Env, name+"="+n.env[name])
	}
	if n.process, err = child.Start(cmd, syscall.SIGKILL, n.logPath); err != nil {
		n.tb.Fatal(err)
	}
	eventually(n.tb, "the router is ready", func() error {
		select {
		case <-n.process.Done():
			n.tb.Fatalf("the router ended at its start: %v\n%s", n.process.Err(), n.process.LogTail())
		default:
		}
		answer, err := n.get("/readyz?verbose")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer, "200 ") {
			return fmt.Errorf("/readyz answers %s", answer)
		}
		return nil
	})
	n.running.Store(true)
}

// get asks the admin address; the answer begins with the status code.
func (n *node) get(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}

// runs tells whether the process is there; from any goroutine.
func (n *node) runs() bool { return n.running.Load() }

// stop is SIGTERM: the router finishes what is under way and ends well, in time.
func (n *node) stop() {
	n.tb.Helper()
	n.count()
	p := n.process
	n.running.Store(false)
	if err := syscall.Kill(p.PID(), syscall.SIGTERM); err != nil {
		n.tb.Errorf("stop the router: %v", err)
	}
	select {
	case <-p.Done():
		if err := p.Err(); err != nil {
			n.tb.Errorf("the router did not end well: %v", err)
		}
	case <-time.After(stopPatience):
		n.tb.Errorf("the router runs %v after SIGTERM; its goroutines follow in its log", stopPatience)
		p.Stop(stopPatience, syscall.SIGQUIT)
	}
}

// kill is kill -9.
func (n *node) kill() {
	n.tb.Helper()
	n.count()
	n.running.Store(false)
	n.process.Stop(0)
}

// end stops a node after its test, and looks at what it left behind.
func (n *node) end() {
	if n.runs() {
		n.stop()
	}
	text, err := os.ReadFile(n.logPath)
	if err != nil {
		n.tb.Errorf("read the router's log: %v", err)
		return
	}
	for _, wrong := range []string{"DATA RACE", "panic", "level=ERROR"} { // an error is one that somebody must look at
		if strings.Contains(string(text), wrong) {
			n.tb.Errorf("the router's log says %q:\n%s", wrong, n.logged(wrong))
		}
	}
	if n.tb.Failed() {
		lines := strings.Split(string(text), "\n")
		n.tb.Logf("the log of the router with %v ends:\n%s", n.services, strings.Join(lines[max(0, len(lines)-logShown):], "\n"))
	}
}

// logged is the lines of the log that mention what.
func (n *node) logged(what string) string {
	text, err := os.ReadFile(n.logPath)
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return !strings.Contains(l, what) })
	return strings.Join(lines, "\n")
}

// eventually waits until true answers nil.
func eventually(tb testing.TB, what string, true func() error) {
	tb.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := true()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}
