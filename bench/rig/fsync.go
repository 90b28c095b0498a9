package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// fsyncPage is what a commit of little writes at once: a page of Postgres' log.
	fsyncPage = 8 << 10
	// fsyncTime is how long is measured: some thousand waits on a fast disk, a few dozen on a slow one.
	fsyncTime = 300 * time.Millisecond
)

// Fsyncs measures how many writes a second the run's file system makes durable, one after the other.
// It overwrites a file made before, as Postgres does with its log.
func (r *Rig) Fsyncs(ctx context.Context) (perSecond float64, err error) {
	file, err := os.CreateTemp(r.dir, "fsync-")
	if err != nil {
		return 0, fmt.Errorf("measure the fsync rate: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	page := make([]byte, fsyncPage)
	write := func() error {
		if _, err := file.WriteAt(page, 0); err != nil {
			return err
		}
		return syncData(file)
	}
	if err := write(); err != nil {
		return 0, fmt.Errorf("measure the fsync rate: %w", err)
	}
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < fsyncTime && ctx.Err() == nil; n++ {
		if err := write(); err != nil {
			return 0, fmt.Errorf("measure the fsync rate: %w", err)
		}
	}
	return float64(n) / time.Since(begin).Seconds(), ctx.Err()
}
