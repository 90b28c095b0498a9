//go:build unix

package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	endpointsName = "endpoints.json"
	// endpointsPoll is how often AwaitEndpoints looks.
	endpointsPoll = 20 * time.Millisecond
)

// ErrNotRunning says that no process serves from a data directory.
var ErrNotRunning = errors.New("no router is running")

// Endpoints say where a running router and its embedded servers are reached,
// for other commands on the machine. What is not embedded is left out.
type Endpoints struct {
	// PID is the process that serves.
	PID int `json:"pid"`
	// Kafka is the embedded broker's host:port.
	Kafka string `json:"kafka,omitempty"`
	// Postgres is the private database's address for lib/pq and psql.
	Postgres string `json:"postgres,omitempty"`
	// HTTP is the base URL of the public routes.
	HTTP string `json:"http,omitempty"`
	// Admin is the base URL of the operations routes.
	Admin string `json:"admin,omitempty"`
}

// WriteEndpoints tells other processes of this user where everything is. It
// may be called again when that changes.
func (d *DataDir) WriteEndpoints(e Endpoints) error {
	e.PID = os.Getpid()
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write the endpoints: %w", err)
	}
	if err := writeFile(filepath.Join(d.path, endpointsName), append(text, '\n')); err != nil {
		return fmt.Errorf("write the endpoints: %w", err)
	}
	return nil
}

func (d *DataDir) removeEndpoints() error {
	if err := os.Remove(filepath.Join(d.path, endpointsName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old endpoints: %w", err)
	}
	return nil
}

// ReadEndpoints reads the endpoints of the process that serves from the data
// directory at path. ErrNotRunning if there is none, or it was killed. Where
// that process is alive but not yet, or no longer, serving, they may be missing
// or lead nowhere.
func ReadEndpoints(path string) (Endpoints, error) {
	var e Endpoints
	text, err := os.ReadFile(filepath.Join(path, endpointsName))
	if errors.Is(err, os.ErrNotExist) {
		return e, fmt.Errorf("%w on the data directory %s: start it with router serve, or set DATA_DIR", ErrNotRunning, path)
	}
	if err != nil {
		return e, fmt.Errorf("read the endpoints of the running router: %w", err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return Endpoints{}, fmt.Errorf("read the endpoints in %s: %w", filepath.Join(path, endpointsName), err)
	}
	if !alive(e.PID) {
		return Endpoints{}, fmt.Errorf("%w on the data directory %s, the last one (process %d) was killed: start it with router serve", ErrNotRunning, path, e.PID)
	}
	return e, nil
}

// AwaitEndpoints is ReadEndpoints for a process that met ErrInUse: the other one
// may still be starting its servers, and is waited for.
func AwaitEndpoints(ctx context.Context, path string) (Endpoints, error) {
	for {
		e, err := ReadEndpoints(path)
		if !errors.Is(err, ErrNotRunning) {
			return e, err
		}
		select {
		case <-ctx.Done():
			return e, fmt.Errorf("wait for the router that has the data directory: %w", errors.Join(ctx.Err(), err))
		case <-time.After(endpointsPoll):
		}
	}
}
