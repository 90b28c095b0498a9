//go:build unix

package embedded

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetchVariable, in the environment, asks this program to be the child process
// that fetches PostgreSQL into the directory it names, and nothing else.
const fetchVariable = "MILLRACE_FETCH_POSTGRES"

// What a fetch makes in its directory.
const (
	stagedBinaries = "postgres"
	stagedData     = "data"
)

// fetchChildPrepared tells that this program, started again, would become the
// child: without RunFetchChildIfAsked it would only start itself.
var fetchChildPrepared bool

// RunFetchChildIfAsked makes this process the one that fetches PostgreSQL, if
// it was started for that, and exits; else it returns at once. A program that
// starts a Postgres calls it first thing in main.
func RunFetchChildIfAsked() {
	fetchChildPrepared = true
	stage := os.Getenv(fetchVariable)
	if stage == "" {
		return
	}
	if err := fetchHere(stage); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// fetchHere uses the library to download, check and unpack the binaries, and to
// start and stop a server with them once. The library empties data directories
// at will; the one it gets here was never anything but its own.
func fetchHere(stage string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).
		BinariesPath(filepath.Join(stage, stagedBinaries)).
		CachePath(filepath.Join(stage, "archive")).
		RuntimePath(filepath.Join(stage, "runtime")).
		DataPath(filepath.Join(stage, stagedData)).
		Port(uint32(port)))
	if err := server.Start(); err != nil {
		return fmt.Errorf("fetch PostgreSQL: %w", err)
	}
	if err := server.Stop(); err != nil {
		return fmt.Errorf("stop the fetched PostgreSQL: %w", err)
	}
	return nil
}

// freePort finds a port free on loopback at this moment; another process may
// take it in the next.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
