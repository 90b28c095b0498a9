//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"millrace/embedded/child"
)

const (
	// fetchedMajor is the major version fetched where the machine has none. A
	// data directory made with it needs it, so it goes up only with a way over.
	fetchedMajor = 17
	// fetchTimeout is for 15 MB over a slow line, and unpacking them.
	fetchTimeout = 5 * time.Minute
)

// systemCache is where root keeps what other users may read as well.
var systemCache = map[string]string{"darwin": "/Library/Caches", "linux": "/var/cache"}

// fetchCache is where fetched binaries live: for this user, or, as root, in a
// place that the user who runs the server can reach as well.
func fetchCache() (string, error) {
	cache := systemCache[runtime.GOOS]
	if os.Getuid() != 0 || cache == "" {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("find this user's cache directory: %w", err)
		}
	}
	return filepath.Join(cache, "millrace", fmt.Sprintf("postgres-%d", fetchedMajor)), nil
}

// fetchPostgres downloads PostgreSQL into the cache. It is done aside and moved
// into place when whole; a second process that wants the same waits for the first.
func fetchPostgres(ctx context.Context) (binaries, error) {
	cache, err := fetchCache()
	if err != nil {
		return binaries{}, err
	}
	done := binaries{dir: filepath.Join(cache, "bin"), major: fetchedMajor}
	parent := filepath.Dir(cache)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return binaries{}, fmt.Errorf("create the cache for PostgreSQL's binaries: %w", err)
	}
	lock, err := awaitLockFile(ctx, filepath.Join(parent, "fetch.lock"))
	if err != nil {
		return binaries{}, err
	}
	defer lock.Close()
	if _, err := postgresVersion(ctx, done.dir); err == nil {
		return done, nil // another process was first
	}
	slog.InfoContext(ctx, "no PostgreSQL on this machine: fetching it once", "megabytes", 15, "into", cache)
	stage := filepath.Join(parent, "fetching")
	if err := clearStage(ctx, stage); err != nil {
		return binaries{}, err
	}
	if err := fetchInto(ctx, stage); err != nil {
		return binaries{}, errors.Join(
			fmt.Errorf("no PostgreSQL on this machine, and it cannot be fetched: install it (package postgresql), or set DATABASE_URL: %w", err),
			clearStage(context.WithoutCancel(ctx), stage))
	}
	if err := own(filepath.Join(stage, stagedBinaries)); err != nil {
		return binaries{}, fmt.Errorf("take over the fetched PostgreSQL: %w", err)
	}
	if err := os.Rename(filepath.Join(stage, stagedBinaries), cache); err != nil {
		return binaries{}, fmt.Errorf("put the fetched PostgreSQL in place: %w", err)
	}
	return done, clearStage(ctx, stage)
}

// fetchInto runs the fetch in a child process: it starts a Postgres once, which
// root may not.
func fetchInto(ctx context.Context, stage string) error {
	if !fetchChildPrepared {
		return errors.New("this program does not call embedded.RunFetchChildIfAsked")
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return err
	}
	run := asSelf()
	if os.Getuid() == 0 {
		name, uid, gid, err := lookupUnprivileged()
		if err != nil {
			return err
		}
		run = asUser(name, uid, gid)
		// The program may lie where that user cannot go.
		copied := filepath.Join(stage, "fetch")
		if err := copyProgram(copied, program); err != nil {
			return err
		}
		if err := os.Chown(stage, uid, gid); err != nil {
			return err
		}
		program = copied
	}
	cmd := run.command(program)
	cmd.Env = append(cmd.Env, fetchVariable+"="+stage, "TMPDIR="+stage)
	cmd.Dir = stage
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return child.Run(ctx, cmd, filepath.Join(stage, "fetch.log"))
}

// clearStage removes what a fetch works on. One that was killed may have left
// the server it tries the binaries with, whose data nobody wants.
func clearStage(ctx context.Context, stage string) error {
	if err := clearPostmasterPID(ctx, filepath.Join(stage, stagedData)); err != nil {
		return err
	}
	if err := os.RemoveAll(stage); err != nil {
		return fmt.Errorf("clear up after a fetch: %w", err)
	}
	return nil
}

// own gives a tree to this process's user: what root will run, no other user may change.
func own(tree string) error {
	return filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, os.Getuid(), os.Getgid())
	})
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("copy this program: %w", err)
	}
	return out.Close()
}
