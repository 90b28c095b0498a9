//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DefaultDataDir is where the embedded servers keep their data unless the
// setting DATA_DIR says otherwise, relative to the working directory.
const DefaultDataDir = ".millrace"

// What lies in a data directory besides the servers' own directories.
const (
	lockName   = "lock"
	markerName = "MILLRACE"
	// marker says that the directory is ours and in which format. A change that
	// older programs cannot read gets a new number, and code that converts.
	marker = "Millrace data directory, format 1. Do not edit or delete anything in here while router runs.\n"
	// markerPrefix is the marker's part that stays the same in every format.
	markerPrefix = "Millrace data directory, format "
)

// ErrInUse says that another process has the data directory. Its servers may be
// joined: AwaitEndpoints tells where they are.
var ErrInUse = errors.New("another process uses the data directory")

// DataDir is the open data directory; it is this process's until Close.
type DataDir struct {
	path string
	lock *os.File
}

// OpenDataDir opens the data directory at path, and creates it if it is
// missing. It refuses, in a sentence for the user, one that cannot be written,
// one that holds something else, and one of another format; and with ErrInUse
// one that another process has.
func OpenDataDir(path string) (*DataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("make DATA_DIR=%s absolute: %w", path, err)
	}
	if err := os.MkdirAll(path, dataDirMode()); err != nil {
		return nil, fmt.Errorf("cannot create the data directory %s (set DATA_DIR to a directory that can be written): %w", path, err)
	}
	if err := refuseForeign(path); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(path, lockName))
	switch {
	case errors.Is(err, errLocked):
		return nil, fmt.Errorf("%w %s", ErrInUse, path)
	case err != nil:
		return nil, fmt.Errorf("cannot write to the data directory %s (set DATA_DIR to a directory that can be written): %w", path, err)
	}
	d := &DataDir{path: path, lock: lock}
	if err := d.claim(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return d, nil
}

// dataDirMode lets other users pass through root's directory, not read it: as
// root, Postgres runs as one of them.
func dataDirMode() fs.FileMode {
	if os.Getuid() == 0 {
		return 0o711
	}
	return 0o700
}

// refuseForeign refuses a directory that was not made by us, before anything is
// written to it.
func refuseForeign(path string) error {
	text, err := os.ReadFile(filepath.Join(path, markerName))
	switch {
	case err == nil && string(text) == marker:
		return nil
	case err == nil && strings.HasPrefix(string(text), markerPrefix):
		return fmt.Errorf("the data directory %s was made by another version of this program (%q): use that version, or set DATA_DIR to a new directory", path, strings.TrimSpace(string(text)))
	case err == nil:
		return fmt.Errorf("%s is not Millrace's: set DATA_DIR to a new directory", filepath.Join(path, markerName))
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("cannot read the data directory %s (set DATA_DIR to another directory): %w", path, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("cannot read the data directory %s (set DATA_DIR to another directory): %w", path, err)
	}
	for _, e := range entries {
		// A process that is just making the directory writes these first.
		if name := e.Name(); name != lockName && !strings.HasPrefix(name, markerName) {
			return fmt.Errorf("the directory %s holds other things (%s): set DATA_DIR to an empty or new directory", path, name)
		}
	}
	return nil
}

// claim writes the marker and removes the endpoints of a process that is gone.
func (d *DataDir) claim() error {
	if _, err := os.Stat(filepath.Join(d.path, markerName)); errors.Is(err, os.ErrNotExist) {
		if err := writeFile(filepath.Join(d.path, markerName), []byte(marker)); err != nil {
			return fmt.Errorf("cannot write to the data directory (set DATA_DIR to a directory that can be written): %w", err)
		}
	}
	return d.removeEndpoints()
}

// Path is the directory's absolute path.
func (d *DataDir) Path() string { return d.path }

// KafkaDir is the directory for the broker's data.
func (d *DataDir) KafkaDir() string { return filepath.Join(d.path, "kafka") }

// PostgresDir is the directory for Postgres's data.
func (d *DataDir) PostgresDir() string { return filepath.Join(d.path, "postgres") }

// Close removes the endpoints and gives the directory free. The servers in it
// have to be closed before.
func (d *DataDir) Close() error {
	err := d.removeEndpoints()
	if err := errors.Join(err, d.lock.Close()); err != nil {
		return fmt.Errorf("close the data directory %s: %w", d.path, err)
	}
	return nil
}

// writeFile writes a file, readable by this user alone, so that it is there
// whole or not at all.
func writeFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDirectory(filepath.Dir(path))
}
