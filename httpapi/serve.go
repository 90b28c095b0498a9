package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// How long a connection may take over each of its steps, so that slow clients
// cannot hold connections for ever.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 60 * time.Second
	// wholeTimeout is for a request with its answer, and so more than MaxRequestTimeout. It
	// bounds reading too, where net/http throws away a body nobody asked for; bodies that
	// are read have bodyReadTimeout.
	wholeTimeout = MaxRequestTimeout + 30*time.Second
	// maxHeaderBytes is ample for credentials; net/http's own default is 1 MiB.
	maxHeaderBytes = 32 << 10
)

// Listen opens a TCP port. setting is the name of the variable that addr came
// from, for an error that says what to change. Port 0 is any free one.
func Listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by another process: stop it, or set %s to a free port (0 takes any): %w", setting, addr, setting, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s: this user may not listen on %s: set %s to a port above 1023: %w", setting, addr, setting, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: %s is no address of this machine: use 127.0.0.1 or 0.0.0.0: %w", setting, addr, err)
	}
	return nil, fmt.Errorf("%s: cannot listen on %s: %w", setting, addr, err)
}

// Server is a handler on an open port.
type Server struct {
	Listener net.Listener
	Handler  http.Handler
}

// Serve answers on all servers until ctx ends or one of them fails. Then it takes no new
// connections, ends streams, and gives running requests up to drain to finish; what is
// left after that is cut off and an error. It closes the listeners.
func Serve(ctx context.Context, drain time.Duration, servers ...Server) error {
	draining, startDraining := context.WithCancel(context.Background())
	defer startDraining()
	running := make([]*http.Server, len(servers))
	failed := make(chan error, len(servers))
	for i, s := range servers {
		running[i] = &http.Server{
			Handler:           s.Handler,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       wholeTimeout,
			WriteTimeout:      wholeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
			// Requests outlive ctx: they get the time to drain.
			BaseContext: func(net.Listener) context.Context {
				return context.WithValue(context.Background(), streamingKey{}, draining)
			},
		}
		go func() {
			err := running[i].Serve(s.Listener)
			if !errors.Is(err, http.ErrServerClosed) {
				err = fmt.Errorf("serve HTTP on %s: %w", s.Listener.Addr(), err)
			} else {
				err = nil
			}
			failed <- err
		}()
	}

	var first error
	ended := 0
	select {
	case <-ctx.Done():
	case first = <-failed:
		ended = 1
	}
	startDraining()
	errs := []error{first, shutdown(running, drain)}
	for ; ended < len(servers); ended++ {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func shutdown(running []*http.Server, drain time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	errs := make([]error, len(running))
	var done sync.WaitGroup
	for i, s := range running {
		done.Go(func() {
			if err := s.Shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("HTTP requests still running after %s were cut off: %w", drain, errors.Join(err, s.Close()))
			}
		})
	}
	done.Wait()
	return errors.Join(errs...)
}
