//go:build unix

package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"millrace/embedded/child"
)

// clusterVersion is the major version that made the data directory; 0 where
// there is none yet.
func clusterVersion(cluster string) (int, error) {
	text, err := os.ReadFile(filepath.Join(cluster, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(cluster); err == nil {
			return 0, fmt.Errorf("%s holds no PostgreSQL data directory, though nothing else belongs there: move it away, or set DATA_DIR to another directory", cluster)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the Postgres data directory: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the version of the Postgres data directory %s: %w", cluster, err)
	}
	return major, nil
}

// initCluster makes a data directory. It is made beside its place and moved
// there when it is whole, so that a kill in between leaves no half of one.
func initCluster(ctx context.Context, b binaries, a account, dir, cluster string, throwaway bool) error {
	// Only initdb ever wrote to this one: no server runs before the move.
	unfinished := cluster + ".initdb"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("clear an unfinished initdb: %w", err)
	}
	args := []string{"-D", unfinished, "-U", postgresUser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-instructions"}
	if throwaway {
		args = append(args, "--no-sync")
	}
	cmd := a.command(b.path("initdb"), args...)
	cmd.Dir = dir
	if err := child.Run(ctx, cmd, filepath.Join(dir, "initdb.log")); err != nil {
		return fmt.Errorf("make a Postgres data directory as %s: %w", a.name, err)
	}
	if err := os.Rename(unfinished, cluster); err != nil {
		return fmt.Errorf("put the new Postgres data directory in place: %w", err)
	}
	if throwaway {
		return nil
	}
	return syncDirectory(dir)
}

// syncDirectory makes renames in a directory survive a power cut.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir, err)
	}
	return nil
}

// maxSocketPath is what fits into a socket address everywhere: 104 bytes on
// macOS and 108 on Linux, with the final zero.
const maxSocketPath = 103

// socketDirectory makes the directory for the server's socket: in dir, or,
// where that path is too long, in one for temporary files, under a name that
// stays the same for dir.
func socketDirectory(dir string, a account) (string, error) {
	id := sha256.Sum256([]byte(dir))
	short := "millrace-" + hex.EncodeToString(id[:6])
	for _, path := range []string{filepath.Join(dir, "socket"), filepath.Join(os.TempDir(), short), filepath.Join("/tmp", short)} {
		// A comma separates hosts in a connection string.
		if len(path)+len("/.s.PGSQL."+postgresPort) > maxSocketPath || strings.Contains(path, ",") {
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("make the socket directory: %w", err)
		}
		// Anyone may have made one in /tmp.
		info, err := os.Lstat(path)
		if err != nil {
			return "", fmt.Errorf("look at the socket directory: %w", err)
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		if !info.IsDir() || info.Mode().Perm() != 0o700 || owner != a.owner && owner != os.Getuid() {
			return "", fmt.Errorf("%s is not a directory closed to all but %s: remove it", path, a.name)
		}
		if err := os.Chown(path, a.owner, a.group); err != nil {
			return "", fmt.Errorf("give the socket directory %s to %s: %w", path, a.name, err)
		}
		return path, nil
	}
	return "", fmt.Errorf("no path short enough for a unix socket (%d bytes): set DATA_DIR or TMPDIR to a shorter one", maxSocketPath)
}
