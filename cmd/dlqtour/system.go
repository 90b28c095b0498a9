package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "github.com/lib/pq" // the driver of the private Postgres

	"millrace/config"
	"millrace/embedded"
	"millrace/embedded/child"
)

const (
	// startPatience is for a start on a slow machine; Postgres may have to be fetched first.
	startPatience = 3 * time.Minute
	// stopPatience is more than SHUTDOWN_TIMEOUT.
	stopPatience = 30 * time.Second
	// patience is for what takes a second or two.
	patience = time.Minute
	// look is how often it is looked.
	look = 50 * time.Millisecond
	// interruptPatience is for a command of the router that was interrupted.
	interruptPatience = 5 * time.Second
)

// settings of the tour's router: any free ports, quick parcels, and deadlines that leave time to read.
var settings = []string{
	"HTTP_PORT=0", "ORDER_PORT=0", "INVENTORY_PORT=0", "PAYMENT_PORT=0", "NOTIFICATION_PORT=0", "ANALYTICS_PORT=0", "SHIPPING_PORT=0",
	"ADMIN_ADDR=127.0.0.1:0", "EMBEDDED_KAFKA_PORT=0", "CARRIER_STEP=200ms", "PAYMENT_DEADLINE=2h", "ORDER_DEADLINE=4h",
}

// system is a router with a broker and a Postgres of its own.
type system struct {
	binary  string
	dir     string // all it has, removed at its end
	env     []string
	process *child.Process // nil until start
	at      embedded.Endpoints
	db      *sql.DB
}

func newSystem(router string) (*system, error) {
	binary, err := filepath.Abs(router)
	if err != nil {
		return nil, fmt.Errorf("find the router %s: %w", router, err)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("there is no router at %s: make build makes one, -router names another: %w", router, err)
	}
	dir, err := os.MkdirTemp("", "millrace-tour-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the tour: %w", err)
	}
	s := &system{binary: binary, dir: dir}
	s.env = append(foreign(os.Environ()), settings...)
	s.env = append(s.env, "DATA_DIR="+s.dataDir())
	// As root, Postgres runs as another user, who has to pass through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(fmt.Errorf("make a directory for the tour: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// foreign is an environment without settings of ours: the caller's servers are not for the tour.
func foreign(environ []string) []string {
	ours := map[string]bool{"DLQ_USER": true}
	for _, s := range config.Describe() {
		ours[s.Name], ours[s.Name+"_FILE"] = true, true
	}
	return slices.DeleteFunc(slices.Clone(environ), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		return ours[name]
	})
}

func (s *system) dataDir() string { return filepath.Join(s.dir, "data") }

func (s *system) logPath() string { return filepath.Join(s.dir, "router.log") }

// start returns when the router is ready.
func (s *system) start(ctx context.Context) (err error) {
	cmd := exec.Command(s.binary, "serve")
	cmd.Env, cmd.Dir = s.env, s.dir
	if s.process, err = child.Start(cmd, syscall.SIGKILL, s.logPath()); err != nil {
		return err
	}
	err = await(ctx, startPatience, "the router is ready", func(ctx context.Context) (bool, error) {
		select {
		case <-s.process.Done():
			return false, fmt.Errorf("the router ended at its start: %w; %s", s.process.Err(), s.process.LogTail())
		default:
		}
		if s.at, err = embedded.ReadEndpoints(s.dataDir()); err != nil || s.at.HTTP == "" || s.at.Admin == "" {
			return false, nil // not yet
		}
		status, _, err := s.call(ctx, http.MethodGet, s.at.Admin+"/readyz", nil)
		return err == nil && status == http.StatusOK, nil
	})
	if err != nil {
		return err
	}
	if s.db, err = sql.Open("postgres", s.at.Postgres); err != nil {
		return fmt.Errorf("connect to the private Postgres: %w", err)
	}
	return nil
}

// end stops everything and removes it.
func (s *system) end() error {
	if s.db != nil {
		_ = s.db.Close() // its server stops anyway
	}
	if s.process != nil {
		s.process.Stop(stopPatience, syscall.SIGTERM)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove what the tour left: %w", err)
	}
	return nil
}

// command runs the router with args; what it prints goes to out.
func (s *system) command(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.env, s.dir, out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptPatience
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("router %s: %w", typed(args), err)
	}
	return nil
}

// call makes a request. The answer has no line break at its end.
func (s *system) call(ctx context.Context, method, url string, body io.Reader) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", fmt.Errorf("%s %s: %w", method, url, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, "", fmt.Errorf("%s %s: %w", method, url, err)
	}
	return response.StatusCode, strings.TrimSpace(string(text)), nil
}

// await returns when true says so, with its error, or when it has taken too long.
func await(ctx context.Context, limit time.Duration, what string, true func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		ok, err := true(ctx)
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		}
	}
}
