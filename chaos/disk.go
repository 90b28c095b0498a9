package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// smallDisk is room for Postgres' own 40 MB, the 256 MB of log that it keeps, and some minutes of orders.
const smallDisk = "size=700m"

// mountSmallDisk puts the database's directory on a file system of its own.
func (y *system) mountSmallDisk() error {
	dir := filepath.Join(y.dir, "postgres")
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", smallDisk+",mode=0711", "chaos", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount a small disk on %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
	}
	y.unmount = func() error {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unmount %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	return nil
}

// needsSmallDisk: only root may mount one.
func needsSmallDisk(_ Kafka, s Scenario) string {
	switch {
	case os.Getuid() != 0:
		return "only root can mount a small disk"
	case !s.SmallDisk:
		return "the database is not on a small disk"
	}
	return ""
}

// fillDisk takes all the room there is, until it is healed.
func fillDisk(ctx context.Context, i *injection) (heal, error) {
	path := filepath.Join(i.dir, "postgres", "filler")
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("fill the disk: %w", err)
	}
	written, err := io.Copy(file, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, fmt.Errorf("fill the disk: after %d bytes: %w", written, err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("fill the disk: %w", err)
	}
	felt := noRoom(ctx, i.database.admin)
	return func(ctx context.Context) (int64, error) {
		if err := os.Remove(path); err != nil {
			return 0, fmt.Errorf("free the disk: %w", err)
		}
		if i.database.ended() {
			return count(felt), i.database.start(ctx)
		}
		return count(felt), nil
	}, nil
}

// noRoom tells whether Postgres cannot write more than the room that it has set aside: the answer is an error, or that it
// has ended.
func noRoom(ctx context.Context, db *sql.DB) bool {
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return true
	}
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, "CREATE TABLE public.chaos_no_room AS SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
	return err != nil
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
